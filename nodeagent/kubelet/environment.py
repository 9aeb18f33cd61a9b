"""The environment of a container: Services, envFrom, env with ``$(NAME)`` references, and its command line."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping

from nodeagent.kubelet.downward import field_value, resource_value
from nodeagent.kubelet.errors import ConfigError, MissingReference
from shim.api.meta import Object

Lookup = Callable[[str, str], Awaitable[Object]]
"""``lookup("configmap", name)`` in the pod's namespace; raises MissingReference."""

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` where NAME is known and ``$$`` by one ``$``; anything else stays as it is."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def service_variables(services: Iterable[Object], namespace: str, *, links: bool) -> dict[str, str]:
    """``WEB_SERVICE_HOST`` and its kin for the namespace's Services; ``kubernetes`` of default is always among them."""
    values: dict[str, str] = {}
    chosen: dict[str, Object] = {}
    for service in services:
        meta = service["metadata"]
        if (service["spec"].get("clusterIP") or "None") == "None":
            continue
        if meta["namespace"] == "default" and meta["name"] == "kubernetes":
            chosen.setdefault("kubernetes", service)
        elif meta["namespace"] == namespace and links:
            chosen[meta["name"]] = service
    for name, service in sorted(chosen.items()):
        values.update(_variables_of(name, service["spec"]))
    return values


def _variables_of(name: str, spec: Object) -> dict[str, str]:
    prefix, ip = name.upper().replace("-", "_"), spec["clusterIP"]
    ports = spec.get("ports") or ()
    values = {f"{prefix}_SERVICE_HOST": ip}
    if ports:
        values[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
    for port in ports:
        if port.get("name"):
            values[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol, number = port.get("protocol") or "TCP", port["port"]
        url = f"{protocol.lower()}://{f'[{ip}]' if ':' in ip else ip}:{number}"
        if index == 0:
            values[f"{prefix}_PORT"] = url
        stem = f"{prefix}_PORT_{number}_{protocol.upper()}"
        values |= {stem: url, f"{stem}_PROTO": protocol.lower(), f"{stem}_PORT": str(number), f"{stem}_ADDR": ip}
    return values


async def environment(
    pod: Object,
    container: Object,
    *,
    services: Mapping[str, str],
    lookup: Lookup,
    ip: str,
    host_ip: str,
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """Every variable of the container. Raises ConfigError when something it names is missing."""
    own: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for field, kind in (("configMapRef", "configmap"), ("secretRef", "secret")):
            if reference := source.get(field):
                try:
                    data = texts_of(kind, await lookup(kind, reference["name"]))
                except MissingReference:
                    if reference.get("optional"):
                        continue
                    raise
                own.update({prefix + key: value for key, value in data.items()})
    for variable in container.get("env") or ():
        value: str | None = variable.get("value") or ""
        source = variable.get("valueFrom")
        if value:
            value = expand(value, {**services, **own})
        elif source:
            value = await _value_from(pod, container, source, lookup, ip, host_ip, allocatable)
        if value is not None:
            own[variable["name"]] = value
    return {**services, **own}


async def _value_from(
    pod: Object,
    container: Object,
    source: Object,
    lookup: Lookup,
    ip: str,
    host_ip: str,
    allocatable: Mapping[str, str],
) -> str | None:
    """The value, or None when it is missing and optional."""
    if reference := source.get("fieldRef"):
        return field_value(pod, reference["fieldPath"], ip=ip, host_ip=host_ip)
    if reference := source.get("resourceFieldRef"):
        return resource_value(pod, container, reference, allocatable)
    for field, kind, title in (("configMapKeyRef", "configmap", "ConfigMap"), ("secretKeyRef", "secret", "Secret")):
        if reference := source.get(field):
            name, key = reference["name"], reference["key"]
            try:
                data = texts_of(kind, await lookup(kind, name))
            except MissingReference:
                if reference.get("optional"):
                    return None
                raise
            if key in data:
                return data[key]
            if reference.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {key} in {title} {pod['metadata']['namespace']}/{name}")
    raise ConfigError(f"environment variables from {', '.join(source) or 'nothing'} are not built yet")


def texts_of(kind: str, obj: Object) -> dict[str, str]:
    data: Mapping[str, str] = obj.get("data") or {}
    if kind == "configmap":
        return dict(data)
    return {key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()}


def bytes_of(kind: str, obj: Object) -> dict[str, bytes]:
    """Every key of a ConfigMap or Secret as a file would hold it."""
    data: Mapping[str, str] = obj.get("data") or {}
    if kind == "secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary: Mapping[str, str] = obj.get("binaryData") or {}
    return {
        **{key: value.encode() for key, value in data.items()},
        **{key: base64.b64decode(value) for key, value in binary.items()},
    }


def command_line(
    container: Object, entrypoint: Iterable[str], cmd: Iterable[str], values: Mapping[str, str]
) -> tuple[str, ...]:
    """command replaces the image's entrypoint and its cmd, args replaces the cmd only."""
    command, args = container.get("command") or (), container.get("args") or ()
    first = [expand(word, values) for word in command] or list(entrypoint)
    rest = [expand(word, values) for word in args] or ([] if command else list(cmd))
    if not first and not rest:
        raise ConfigError("no command specified: neither the container nor its image names one")
    return (*first, *rest)
