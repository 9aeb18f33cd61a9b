"""Every static pod is shown in the API by a pod of the same name, its mirror: made, made again, and taken away here.

The mirror takes the status of its static pod, and nothing that is done to it reaches that one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nodeagent.kubelet import names
from nodeagent.kubelet.statics.manifest import mirror_of
from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.client import Client
from shim.client import resource as r

log = logging.getLogger(__name__)

RETRY = 5.0


@dataclass(frozen=True, slots=True)
class Create:
    pod: Object  # the static one


@dataclass(frozen=True, slots=True)
class Delete:
    mirror: Object


def plan(here: Mapping[str, Object | None], mirrors: Mapping[str, Object]) -> Iterator[Create | Delete]:
    """``here``: the static pods; of those on their way out None, whose mirrors stay until they are gone. Pure."""
    for key, pod in here.items():
        mirror = mirrors.get(key)
        if pod is None:
            continue
        if mirror is None:
            yield Create(pod)
        elif mirror["metadata"].get("deletionTimestamp") or not is_of(mirror, pod):
            yield Delete(mirror)
    for key, mirror in mirrors.items():
        if key not in here:
            yield Delete(mirror)


def is_of(mirror: Object, pod: Object) -> bool:
    """Whether it is the mirror of just this static pod, and not of one whose file has changed."""
    return names.annotation(mirror, names.CONFIG_MIRROR) == names.annotation(pod, names.CONFIG_HASH)


class Mirrors:
    """Keeps the mirrors in the API as the static pods are."""

    def __init__(
        self,
        client: Client,
        node: Callable[[], Object],
        here: Callable[[], Mapping[str, Object | None]],
        seen: Callable[[Object, Object | None], None],
    ) -> None:
        """``node`` is the Node; ``seen(mirror, None if it is gone)`` is told of each change of a mirror."""
        self._client, self._node, self._here, self._seen = client, node, here, seen
        self._mirrors: dict[str, Object] = {}
        self._look = asyncio.Event()

    def look(self) -> None:
        """Static pods have come or gone."""
        self._look.set()

    def changed(self, old: Object | None, new: Object | None) -> None:
        """The API has a mirror that is new, different or gone."""
        mirror = new or old
        assert mirror is not None
        if new is None:
            self._mirrors.pop(key_of(mirror), None)
        else:
            self._mirrors[key_of(mirror)] = new
        self._seen(mirror, new)
        self._look.set()

    def of(self, pod: Object) -> Object | None:
        """The mirror of just this static pod."""
        mirror = self._mirrors.get(key_of(pod))
        return mirror if mirror and is_of(mirror, pod) else None

    async def run(self) -> None:
        """Until cancelled; the Node is registered and the mirrors there are have been told."""
        while True:
            self._look.clear()
            undone = False
            for step in list(plan(self._here(), self._mirrors)):
                undone |= not await self._do(step)
            try:
                async with asyncio.timeout(RETRY if undone else None):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def _do(self, step: Create | Delete) -> bool:
        """Whether it is done."""
        pod = step.pod if isinstance(step, Create) else step.mirror
        meta = pod["metadata"]
        try:
            match step:
                case Create():
                    made = await self._client.create(r.PODS, mirror_of(pod, self._node()), meta["namespace"])
                    self.changed(None, made)  # before the watch tells of it: it is made once
                case Delete():
                    await self._client.delete(r.PODS, meta["name"], meta["namespace"], grace_period=0, uid=meta["uid"])
        except ApiError as error:
            if isinstance(step, Delete) and error.code in (404, 409):
                return True
            log.warning("mirror %s/%s: %s", meta["namespace"], meta["name"], error)
            return False
        return True
