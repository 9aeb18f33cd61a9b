"""ConfigMaps, Secrets and tokens that the pods of this node name: fetched once, then kept current by a watch each.

Each object is watched alone, by its name: a node may read what its pods name and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from nodeagent.kubelet.clock import Clock
from nodeagent.kubelet.errors import ConfigError, MissingReference
from shim.api.meta import GVR, Object
from shim.client import Client, Informer
from shim.client import resource as r

RESOURCES: dict[str, GVR] = {"configmap": r.CONFIGMAPS, "secret": r.SECRETS}
PATIENCE = 5.0  # seconds for the first answer; a refusal is retried by the informer
LINGER = 10.0  # seconds; the next pod of a namespace will name the same (kube-root-ca.crt), and to list it, and to
# connect and watch it, takes both sides 6 ms of the processor
REFRESH_AFTER = 0.8  # of a token's life; and never later than a day
Key = tuple[str, str, str]


@dataclass(slots=True)
class _Followed:
    informer: Informer
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)
    end: asyncio.TimerHandle | None = None  # of following it, while nobody uses it

    def stay(self) -> None:
        if self.end is not None:
            self.end.cancel()
            self.end = None


class References:
    """``changed(uid)`` is called for each pod that uses an object which changed, appeared or went."""

    def __init__(self, client: Client, changed: Callable[[str], None]) -> None:
        self._client = client
        self._changed = changed
        self._followed: dict[Key, _Followed] = {}

    async def get(self, uid: str, kind: str, namespace: str, name: str) -> Object:
        """The object as it is now; the pod ``uid`` counts as its user from here on. Raises MissingReference."""
        followed = self._follow((kind, namespace, name))
        followed.users.add(uid)
        followed.stay()
        try:
            await asyncio.wait_for(followed.informer.synced(), PATIENCE)
        except TimeoutError:
            raise ConfigError(f'failed to sync {kind} cache: timed out waiting for {kind} "{name}"') from None
        obj = followed.informer.get(f"{namespace}/{name}")
        if obj is None:
            raise MissingReference(f'{kind} "{name}" not found')
        return obj

    def _follow(self, key: Key) -> _Followed:
        found = self._followed.get(key)
        if found is None:
            kind, namespace, name = key
            informer = Informer(self._client, RESOURCES[kind], namespace, field_selector=f"metadata.name={name}")
            found = _Followed(informer, asyncio.get_running_loop().create_task(informer.run()))
            self._followed[key] = found
            informer.on_change(lambda old, new: self._tell(key))
        return found

    def _tell(self, key: Key) -> None:
        if not self._followed[key].informer.has_synced:
            return  # what is read for the first time is no news: whoever asked waits for it
        for uid in tuple(self._followed[key].users):
            self._changed(uid)

    def forget(self, uid: str) -> None:
        """The pod is gone; what only it used is soon followed no longer."""
        for key, followed in self._followed.items():
            if uid in followed.users:
                followed.users.remove(uid)
                if not followed.users:
                    followed.end = asyncio.get_running_loop().call_later(LINGER, self._let_go, key)

    def _let_go(self, key: Key) -> None:
        self._followed.pop(key).task.cancel()

    def close(self) -> None:
        for followed in self._followed.values():
            followed.stay()
            followed.task.cancel()
        self._followed.clear()


class Tokens:
    """Service-account tokens bound to pods, asked for when first needed and again before they expire."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._known: dict[tuple[str, str, int], tuple[str, float]] = {}

    async def get(self, pod: Object, audience: str, seconds: int) -> tuple[str, float]:
        """The token, and when it should be fetched anew."""
        meta = pod["metadata"]
        key = (meta["uid"], audience, seconds)
        known = self._known.get(key)
        if known is not None and self._clock.now() < known[1]:
            return known
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
            },
        }
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._client.create(
            r.SERVICEACCOUNTS, request, meta["namespace"], name=account, subresource="token"
        )
        life = float((answer.get("spec") or {}).get("expirationSeconds") or seconds)
        refresh = self._clock.now() + min(life * REFRESH_AFTER, 86400.0)
        self._known[key] = (answer["status"]["token"], refresh)
        return self._known[key]

    def forget(self, uid: str) -> None:
        for key in [key for key in self._known if key[0] == uid]:
            del self._known[key]
