"""The downward API: a pod's own fields and resources, as text for its environment and volumes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nodeagent.kubelet.errors import ConfigError
from nodeagent.kubelet.names import find_container
from shim.api import quantity
from shim.api.meta import Object

_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['([^']*)'\]")


def field_value(pod: Object, path: str, *, ip: str = "", host_ip: str = "") -> str:
    """What a fieldRef stands for. Raises ConfigError."""
    meta, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.fullmatch(path):
        return str((meta.get(match[1].partition(".")[2]) or {}).get(match[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(meta[path.partition(".")[2]])
        case "metadata.labels" | "metadata.annotations":
            return format_map(meta.get(path.partition(".")[2]) or {})
        case "spec.nodeName" | "spec.serviceAccountName":
            return str(spec.get(path.partition(".")[2]) or "")
        case "status.hostIP" | "status.hostIPs":
            return host_ip
        case "status.podIP" | "status.podIPs":
            return ip
    raise ConfigError(f"unsupported fieldPath: {path}")


def format_map(values: Mapping[str, str]) -> str:
    """Labels or annotations as a file shows them: one ``key="value"`` a line, sorted."""
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(values.items()))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped.replace(chr(13), chr(92) + "r")}"'


def resource_value(pod: Object, container: Object, reference: Object, allocatable: Mapping[str, str]) -> str:
    """What a resourceFieldRef stands for; a limit nobody set is what the node has. Raises ConfigError."""
    name = reference.get("containerName")
    if name and name != container.get("name"):
        found = find_container(pod, name)
        if found is None:
            raise ConfigError(f"container {name} not found")
        container = found[1]
    which, _, resource = str(reference["resource"]).partition(".")
    if which not in ("limits", "requests"):
        raise ConfigError(f"unsupported container resource : {reference['resource']}")
    resources = container.get("resources") or {}
    amount = (resources.get(which) or {}).get(resource)
    if amount is None and which == "limits":
        amount = allocatable.get(resource)
    divisor = quantity.parse(str(reference.get("divisor") or "1"))
    divisor = divisor if divisor else quantity.parse("1")
    nanos = quantity.parse(str(amount)).nanos if amount is not None else 0
    return str(-(-nanos // divisor.nanos))
