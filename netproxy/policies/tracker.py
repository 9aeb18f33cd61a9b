"""What has changed? Follows NetworkPolicies and, once there is one, the pods and namespaces they speak of."""

from __future__ import annotations

import asyncio

from netproxy.policies.compiler import NOTHING, Enforced, compile_policies
from netproxy.policies.model import Pod, Policy, pod_of, policy_of
from shim.api.meta import Object, key_of
from shim.client import Informer


class Tracker:
    """Policies and those they concern, as values. Pods and namespaces are watched from the first policy on only:
    most clusters have none, and every node would hold a copy of all pods for nothing."""

    def __init__(self, policies: Informer, pods: Informer, namespaces: Informer, node: str) -> None:
        self._informers, self._node = (policies, pods, namespaces), node
        self._policies: dict[str, Policy] = {}
        self._pods: dict[str, Pod] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self._new: set[str] = set()
        self._changed = asyncio.Event()
        self._needed = asyncio.Event()  # there has been a policy
        policies.on_change(self._on_policy)
        pods.on_change(self._on_pod)
        namespaces.on_change(self._on_namespace)

    @property
    def idle(self) -> bool:
        """Whether there is no policy at all."""
        return not self._policies

    async def run(self) -> None:
        """Watch until cancelled."""
        policies, pods, namespaces = self._informers
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(policies.run(), name="watch networkpolicies")
            await policies.synced()
            await self._needed.wait()
            for informer in (pods, namespaces):
                tasks.create_task(informer.run(), name=f"watch {informer.gvr.resource}")

    async def synced(self) -> None:
        """Wait until what is followed is complete."""
        for informer in self._informers if not self.idle else self._informers[:1]:
            await informer.synced()

    async def changed(self) -> None:
        """Wait until there is something to compile."""
        await self._changed.wait()

    def announce(self, addresses: set[str]) -> None:
        """Take addresses for new once more, and call it a change: an attempt has failed and is to be repeated."""
        self._new |= addresses
        self._changed.set()

    def compile(self) -> Enforced:
        """What is to be enforced as of now."""
        self._changed.clear()
        if self.idle:
            return NOTHING
        return compile_policies(list(self._policies.values()), list(self._pods.values()), self._labels)

    def new_addresses(self) -> set[str]:
        """Addresses of this node's pods that have become known since the last time it was asked."""
        new, self._new = self._new, set()
        return new

    def _on_policy(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            del self._policies[key_of(old)]  # type: ignore[arg-type]  # one of the two is there
        else:
            self._policies[key_of(new)] = policy_of(new)
            self._needed.set()
        self._changed.set()

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        key = key_of(new or old)  # type: ignore[arg-type]
        before, now = self._pods.pop(key, None), pod_of(new, self._node) if new else None
        if now is not None:
            self._pods[key] = now
            if now.local and (before is None or (before.uid, before.address) != (now.uid, now.address)):
                self._new.add(now.address)
        if before != now:
            self._changed.set()

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:
        name = (new or old)["metadata"]["name"]  # type: ignore[index]
        before = self._labels.pop(name, None)
        if new is not None:
            self._labels[name] = new["metadata"].get("labels") or {}
        if before != self._labels.get(name):
            self._changed.set()
