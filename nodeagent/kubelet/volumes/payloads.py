"""What stands in the files of configMap, secret, downwardAPI and projected volumes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from nodeagent.kubelet.downward import field_value, resource_value
from nodeagent.kubelet.environment import Lookup, bytes_of
from nodeagent.kubelet.errors import ConfigError, MissingReference
from nodeagent.kubelet.volumes.atomic import File
from shim.api.meta import Object

DEFAULT_MODE = 0o644
TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Source:
    """Where contents come from, for one pod."""

    pod: Object
    lookup: Lookup
    token: Callable[[str, int], Awaitable[tuple[str, float]]]
    ip: str
    host_ip: str
    allocatable: Mapping[str, str]


async def payload_of(volume: Object, source: Source) -> tuple[dict[str, File], float]:
    """The files of a volume, and when they must be made anew (0.0: only when something changes)."""
    if told := volume.get("configMap"):
        return await _keys("configmap", told["name"], told, source, told.get("defaultMode")), 0.0
    if told := volume.get("secret"):
        return await _keys("secret", told["secretName"], told, source, told.get("defaultMode")), 0.0
    if (told := volume.get("downwardAPI")) is not None:
        return _downward(told.get("items") or (), source, told.get("defaultMode")), 0.0
    return await _projected(volume["projected"], source)


async def _projected(told: Object, source: Source) -> tuple[dict[str, File], float]:
    """Its parts are asked for all at once: a token and a config map come in the time of one of them."""
    asked = (_part(part, told.get("defaultMode"), source) for part in told.get("sources") or ())
    files: dict[str, File] = {}
    refresh = 0.0
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer  # the first in their order, whichever failed first
        files |= answer[0]
        refresh = min(refresh or answer[1], answer[1] or refresh)
    return files, refresh


async def _part(part: Object, mode: int | None, source: Source) -> tuple[dict[str, File], float]:
    if told := part.get("configMap"):
        return await _keys("configmap", told["name"], told, source, mode), 0.0
    if told := part.get("secret"):
        return await _keys("secret", told["name"], told, source, mode), 0.0
    if told := part.get("downwardAPI"):
        return _downward(told.get("items") or (), source, mode), 0.0
    if told := part.get("serviceAccountToken"):
        seconds = int(told.get("expirationSeconds") or TOKEN_SECONDS)
        token, until = await source.token(told.get("audience") or "", seconds)
        return {told["path"]: _token_file(source.pod, token, mode)}, until
    raise ConfigError(f"projected volume source {', '.join(part) or 'nothing'} is not built yet")


def _mode(item: Object, default: int | None) -> int:
    told = item.get("mode")
    return int(told if told is not None else default if default is not None else DEFAULT_MODE)


async def _keys(kind: str, name: str, told: Object, source: Source, mode: int | None) -> dict[str, File]:
    try:
        data = bytes_of(kind, await source.lookup(kind, name))
    except MissingReference:
        if told.get("optional"):
            return {}
        raise
    items: Sequence[Object] = told.get("items") or ()
    if not items:
        return {key: File(content, _mode({}, mode)) for key, content in data.items()}
    files = {}
    for item in items:
        if item["key"] in data:
            files[item["path"]] = File(data[item["key"]], _mode(item, mode))
        elif not told.get("optional"):
            title = "config" if kind == "configmap" else kind
            raise ConfigError(f"references non-existent {title} key: {item['key']}")
    return files


def _downward(items: Sequence[Object], source: Source, mode: int | None) -> dict[str, File]:
    files = {}
    for item in items:
        if reference := item.get("fieldRef"):
            text = field_value(source.pod, reference["fieldPath"], ip=source.ip, host_ip=source.host_ip)
        else:
            text = resource_value(source.pod, {}, item["resourceFieldRef"], source.allocatable)
        files[item["path"]] = File(text.encode(), _mode(item, mode))
    return files


def _token_file(pod: Object, token: str, mode: int | None) -> File:
    """Readable by its user only, where all containers run as the same one."""
    of_pod = pod["spec"].get("securityContext") or {}
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    users = {(c.get("securityContext") or {}).get("runAsUser", of_pod.get("runAsUser")) for c in containers}
    user = users.pop() if len(users) == 1 else None
    if user is not None or of_pod.get("fsGroup") is not None:
        return File(token.encode(), 0o600, uid=int(user) if user is not None else -1)
    return File(token.encode(), _mode({}, mode))
