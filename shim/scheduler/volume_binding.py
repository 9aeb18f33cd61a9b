"""How do a pod's volumes come to be where the pod goes? Written before the pod is bound, and waited for.

What was decided is assumed at once, so that the next pod is not given the same volume; it is taken back when it fails.
"""

from __future__ import annotations

import asyncio

from shim.api import claims as c
from shim.api.meta import Object, key_of
from shim.client import Client
from shim.client import resource as r
from shim.scheduler.snapshot import Snapshot
from shim.scheduler.volumes import Choice

PATIENCE = 600.0  # upstream's default for a volume to be made and bound


class NotBound(Exception):
    """The volumes did not come; the pod must be placed anew."""


class VolumeBinding:
    """Writes choices, and waits until the binder has done its part."""

    def __init__(self, client: Client, snapshot: Snapshot) -> None:
        self._client, self._snapshot = client, snapshot
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """A claim has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def assume(self, choice: Choice, node: str) -> None:
        for volume, claim in choice.reserved:
            self._snapshot.reserved[volume["metadata"]["name"]] = claim["metadata"]["uid"]
        for claim in (*choice.provisioned, *(claim for _, claim in choice.reserved)):
            self._snapshot.selected[key_of(claim)] = node

    def forget(self, choice: Choice) -> None:
        """It is written and seen, or it came to nothing."""
        for volume, _ in choice.reserved:
            self._snapshot.reserved.pop(volume["metadata"]["name"], None)
        for claim in (*choice.provisioned, *(claim for _, claim in choice.reserved)):
            self._snapshot.selected.pop(key_of(claim), None)

    async def bind(self, choice: Choice, node: str, patience: float = PATIENCE) -> None:
        """Raises NotBound and ApiError."""
        for volume, claim in choice.reserved:
            await self._client.update(r.PERSISTENTVOLUMES, c.reserve(volume, claim))
        for claim in choice.provisioned:
            if c.annotations_of(claim).get(c.SELECTED_NODE) != node:
                annotations = {**c.annotations_of(claim), c.SELECTED_NODE: node}
                await self._client.update(
                    r.PERSISTENTVOLUMECLAIMS, {**claim, "metadata": {**claim["metadata"], "annotations": annotations}}
                )
        wanted = [key_of(claim) for claim in (*choice.provisioned, *(claim for _, claim in choice.reserved))]
        chosen = {key_of(claim) for claim in choice.provisioned}
        seen: set[str] = set()  # claims whose copy has shown our choice: from then on its absence means something
        try:
            async with asyncio.timeout(patience):
                while not all(self._is_bound(key, node, key in chosen, seen) for key in wanted):
                    await self._changed.wait()
        except TimeoutError:
            raise NotBound("binding volumes: context deadline exceeded") from None

    def _is_bound(self, key: str, node: str, chosen: bool, seen: set[str]) -> bool:
        claim = self._snapshot.claims.get(key)
        if claim is None:
            raise NotBound(f'binding volumes: persistentvolumeclaim "{key.rpartition("/")[2]}" not found')
        if c.is_bound(claim):
            return self._reaches(claim, node)
        if chosen:
            selected = c.annotations_of(claim).get(c.SELECTED_NODE)
            if selected == node:
                seen.add(key)
            elif key in seen:
                raise NotBound(f'binding volumes: selectedNode annotation reset for PVC "{claim["metadata"]["name"]}"')
        return False

    def _reaches(self, claim: Object, name: str) -> bool:
        volume, node = self._snapshot.volumes.get(claim["spec"]["volumeName"]), self._snapshot.node(name)
        if node is None or node.obj is None:
            raise NotBound(f'binding volumes: node "{name}" not found')
        if volume is None:
            return False  # not shown yet
        if not c.reachable(volume, node.obj):
            raise NotBound(f'binding volumes: pv "{key_of(volume)}" node affinity doesn\'t match node "{name}"')
        return True
