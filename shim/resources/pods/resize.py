"""What may change of a pod's resources while it runs (KEP-1287): CPU and memory, within its class of service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shim.api.meta import Object
from shim.api.qos import qos_class
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid

_RESIZABLE = ("cpu", "memory")
_LISTS = ("containers", "initContainers")
_MIRROR = "kubernetes.io/config.mirror"


def wanted(new: Object, old: Object) -> Object:
    """The spec of ``old`` with the resources and resize policies of ``new``.

    Containers that were added, removed, renamed or moved are left as they were asked for: the rules complain of them.
    """
    asked, spec = new.get("spec") or {}, dict(old["spec"])
    if any(len(asked.get(field) or ()) != len(spec.get(field) or ()) for field in _LISTS):
        return asked
    for field in _LISTS:
        if spec.get(field):
            spec[field] = _merged(asked[field], spec[field])
    spec.pop("resources", None)
    if "resources" in asked:
        spec["resources"] = asked["resources"]
    return spec


def _merged(asked: list[Object], had: list[Object]) -> list[Object]:
    if [each.get("name") for each in asked] != [each["name"] for each in had]:
        return asked
    merged: list[Object] = []
    for container, before in zip(asked, had, strict=True):
        kept = {name: value for name, value in before.items() if name not in ("resources", "resizePolicy")}
        merged.append(
            {**kept, **{name: container[name] for name in ("resources", "resizePolicy") if name in container}}
        )
    return merged


def rules(new: Object, old: Object) -> list[FieldError]:
    """Every reason why ``old`` cannot become ``new``, whose spec is :func:`wanted`."""
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods cannot be resized")]
    if ((old["spec"].get("os") or {}).get("name")) == "windows":
        return [forbidden("", "windows pods cannot be resized")]
    causes = []
    known = (old.get("status") or {}).get("qosClass") or qos_class(old["spec"])
    if known != qos_class(new["spec"]):
        text = "Pod QOS Class may not change as a result of resizing"
        causes.append(invalid("spec", (new.get("status") or {}).get("qosClass") or known, text))
    if not _node_can(old):
        causes.append(forbidden("spec", "Pod running on node without support for resize"))
    causes += _pod_level(new["spec"].get("resources"), old["spec"].get("resources"))
    if misplaced := list(_misplaced(new["spec"], old["spec"])):
        return causes + misplaced
    for field in ("initContainers", "containers"):
        for index, (container, before) in enumerate(_pairs(new, old, field)):
            at = f"spec.{field}[{index}].resources"
            causes += _removed(container, before, at, "resource")
    for field in _LISTS:
        for index, (container, before) in enumerate(_pairs(new, old, field)):
            if _fixed(container.get("resources")) != _fixed(before.get("resources")):
                if field == "containers":
                    causes.append(forbidden("spec", "only cpu and memory resources are mutable"))
                else:
                    text = "only cpu and memory resources for init or sidecar containers are mutable"
                    causes.append(forbidden(f"spec.initContainers[{index}]", text))
            causes += _policies(field, index, container, before)
    return causes


def _pairs(new: Object, old: Object, field: str) -> Iterator[tuple[Object, Object]]:
    yield from zip(new["spec"].get(field) or (), old["spec"].get(field) or (), strict=True)


def _node_can(pod: Object) -> bool:
    """A node that can says of running containers what they were given."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            return status.get("resources") is not None
    return True


def _pod_level(resources: Object | None, before: Object | None) -> list[FieldError]:
    if not before and not resources:
        return []
    if before and not resources:
        return [forbidden("spec.resources", "pod-level resources cannot be removed")]
    causes = _removed({"resources": resources}, {"resources": before}, "spec.resources", "pod-level resource")
    if _fixed(resources) != _fixed(before):
        causes.append(forbidden("spec", "only cpu and memory resources are mutable at pod-level"))
    return causes


def _misplaced(new: Object, old: Object) -> Iterator[FieldError]:
    for field in _LISTS:
        found, had = new.get(field) or [], old.get(field) or []
        if len(found) != len(had):
            yield forbidden(f"spec.{field}", f"{field} may not be added or removed on resize")
            continue
        for index, (container, before) in enumerate(zip(found, had, strict=True)):
            if container.get("name") != before["name"]:
                yield forbidden(f"spec.{field}[{index}].name", f"{field} may not be renamed or reordered on resize")


def _removed(new: Object, old: Object, at: str, what: str) -> list[FieldError]:
    found, had = new.get("resources") or {}, old.get("resources") or {}
    return [
        forbidden(f"{at}.{side}", f"{what} {side} cannot be removed")
        for side in ("requests", "limits")
        if not (had.get(side) or {}).keys() <= (found.get(side) or {}).keys()
    ]


def _fixed(resources: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of resources that no resize may change; claims of devices are not counted, as upstream."""
    return {
        side: {name: value for name, value in ((resources or {}).get(side) or {}).items() if name not in _RESIZABLE}
        for side in ("requests", "limits")
    }


def _policies(field: str, index: int, container: Object, before: Object) -> list[FieldError]:
    """How containers take a change is settled when the pod is made."""
    if container == before:
        return []
    if (container.get("resizePolicy") or []) != (before.get("resizePolicy") or []):
        return [forbidden("spec", "only cpu and memory resources are mutable")]
    restarts = any(each.get("restartPolicy") == "RestartContainer" for each in container.get("resizePolicy") or ())
    if field == "initContainers" and restarts and container.get("restartPolicy") != "Always":
        text = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
        return [forbidden(f"spec.initContainers[{index}]", text)]
    return []
