"""The Node object and its Lease: registering, saying Ready as soon as it is true, and that the node is alive.

The Lease, renewed every 10 s, is how controllers notice a dead node; the status is written when it changes, and
every 5 min so that its times are not too old.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

from nodeagent.engine.contract import ImageStore
from nodeagent.kubelet import nodeevents, nodeinfo
from nodeagent.settings import NodeAgentSettings
from shim.api.meta import Object, now, now_micro
from shim.api.status import ApiError
from shim.client import Client, Informer
from shim.client import resource as r

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_EVERY = 10.0
LOOK_EVERY = 10.0
REPORT_EVERY = 300.0
NETWORK_RETRY = 1.0
PATIENCE = 10.0  # after a restart, for the network to be taken up before the node is called NotReady


class NodeObject:
    """Keeps the Node and its Lease; ``ready`` once the API server knows this node to be Ready."""

    def __init__(
        self,
        settings: NodeAgentSettings,
        client: Client,
        images: ImageStore,
        happened: Callable[[str, str], None],
        connect: Callable[[str], Awaitable[None]],
        short: Callable[[], Collection[str]] = tuple,
        going_down: Callable[[], bool] = lambda: False,
        *,
        own_users: bool,
    ) -> None:
        """``connect`` is called with the pod CIDR; the node is Ready once it has returned.

        ``happened`` records an event about the node, by its reason and message.
        ``short`` tells the pressures there are, ``going_down`` whether the machine is; ``look`` makes them known.
        ``own_users``: pods can have user namespaces here.
        """
        self._short, self._going_down = short, going_down
        self._own_users = own_users
        self._settings = settings
        self._client = client
        self._happened = happened
        self._connect = connect
        self._images = images
        self._network_ready = False
        self._told: Object = {}
        self._told_at = 0.0
        self._look = asyncio.Event()
        self._cidr_kept = settings.data_dir / "pod-cidr"
        self._pod_cidr = self._remembered_cidr()
        self._cidr_known = asyncio.Event()
        if self._pod_cidr:  # static pods need no server to tell it again
            self._cidr_known.set()
        self._informer = Informer(client, r.NODES, field_selector=f"metadata.name={settings.node_name}")
        self.known: Object = {}  # the Node as it was last seen
        self.registered = asyncio.Event()
        self.ready = asyncio.Event()

    def look(self) -> None:
        """Something about the node has changed."""
        self._look.set()

    async def run(self) -> None:
        """Register, then keep all of it current until cancelled."""
        self._happened(*nodeevents.STARTING)
        self.known = self._new()  # as long as nobody answers
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_network())
            node = await self._register()
            self.registered.set()
            self._informer.on_change(self._changed)
            group.create_task(self._informer.run())
            group.create_task(self._keep_status())
            group.create_task(self._keep_lease(node["metadata"]["uid"]))

    def _new(self) -> Object:
        """The Node as it would be registered now."""
        settings = self._settings
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": settings.node_name,
                "labels": nodeinfo.labels(settings),
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {"providerID": f"{settings.provider}://{settings.node_name}"},
            "status": self._status({}),
        }

    async def _register(self) -> Object:
        """Create the Node, or take up the one there is with the labels and address of today."""
        settings, wanted = self._settings, self._new()
        while True:
            try:
                try:
                    node = await self._client.create(r.NODES, wanted)
                except ApiError as error:
                    if error.code != 409:
                        raise
                    metadata = {key: wanted["metadata"][key] for key in ("labels", "annotations")}
                    node = await self._client.patch(r.NODES, settings.node_name, {"metadata": metadata})
                break
            except ApiError as error:
                log.info("node not registered yet: %s", error)
                await asyncio.sleep(0.2)
        self.known, self._told = node, node.get("status") or {}
        self._changed_to(nodeevents.of_status({}, wanted["status"]))
        return node

    async def see(self) -> None:
        """See the Node as it is this moment, where the server answers."""
        try:
            self.known = await self._client.get(r.NODES, self._settings.node_name)
        except ApiError as error:
            log.info("node not read: %s", error)

    def _remembered_cidr(self) -> str:
        try:
            return self._cidr_kept.read_text().strip()
        except FileNotFoundError:
            return self._settings.pod_cidr

    def _changed_to(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self._happened(reason, nodeevents.message(self._settings.node_name, reason))

    def _status(self, previous: Object) -> Object:
        return nodeinfo.status(
            self._settings,
            problems=self._problems(),
            known=self._images.images(),
            previous=previous,
            now=now(),
            short=self._short(),
            own_users=self._own_users,
        )

    def _problems(self) -> list[str]:
        """Why the node is not ready."""
        problems = [] if self._network_ready else [nodeinfo.NO_NETWORK]
        return [*problems, nodeinfo.GOING_DOWN] if self._going_down() else problems

    async def _keep_status(self) -> None:
        if nodeinfo.is_ready(self._told):
            # An earlier agent ended a moment ago: do not call the node NotReady only to take it back.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), PATIENCE)
        while True:
            self._look.clear()
            status = self._status(self._told)
            if _differs(status, self._told) or time.monotonic() - self._told_at > REPORT_EVERY:
                try:
                    await self._tell(status)
                except ApiError as error:
                    log.info("node status not told: %s", error)
                    await asyncio.sleep(1.0)
                    continue
            if self._network_ready:
                self.ready.set()
            try:
                await asyncio.wait_for(self._look.wait(), LOOK_EVERY)
            except TimeoutError:
                pass

    async def _tell(self, status: Object) -> None:
        patch = {"status": {**status, "images": status["images"] or None}}
        name, before = self._settings.node_name, self._told
        try:
            answer = await self._client.patch(r.NODES, name, patch, subresource="status", type="strategic")
        except ApiError as error:
            if error.code != 404:
                raise
            await self._register()  # someone deleted the Node: this machine is still here
            return
        self._told, self._told_at = answer.get("status") or {}, time.monotonic()
        self._changed_to(nodeevents.of_status(before, self._told))

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._told = {}
            self._look.set()
            return
        if old is not None:
            self._changed_to(nodeevents.of_spec(old.get("spec") or {}, new.get("spec") or {}))
        self.known = new
        cidr = (new.get("spec") or {}).get("podCIDR") or ""
        if cidr and cidr != self._pod_cidr:
            self._pod_cidr = cidr
            self._cidr_known.set()
            try:
                self._cidr_kept.write_text(f"{cidr}\n")
            except OSError as error:  # a full disk, say: only static pods without a server would need it
                log.warning("the network of this node's pods is not kept: %s", error)
        self._told = new.get("status") or {}

    async def _keep_network(self) -> None:
        """Tell the network its pod CIDR; the node is Ready as soon as the network is."""
        while True:
            await self._cidr_known.wait()
            self._cidr_known.clear()
            try:
                await self._connect(self._pod_cidr)
            except Exception:  # whatever it is, the node is NotReady and says so until it works
                log.exception("the pod network %s cannot be made", self._pod_cidr)
                self._network_ready = False
                asyncio.get_running_loop().call_later(NETWORK_RETRY, self._cidr_known.set)
                continue
            self._network_ready = True
            self._look.set()

    async def _keep_lease(self, uid: str) -> None:
        lease: Object | None = None
        while True:
            try:
                lease = await self._renew(lease, uid)
                pause = RENEW_EVERY
            except ApiError as error:
                log.info("lease not renewed: %s", error)
                lease, pause = None, 0.5
            await asyncio.sleep(pause)

    async def _renew(self, lease: Object | None, uid: str) -> Object:
        name = self._settings.node_name
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now_micro()}
        if lease is not None:
            return await self._client.update(r.LEASES, {**lease, "spec": {**lease["spec"], **spec}})
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
        fresh: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
            "spec": spec,
        }
        try:
            return await self._client.create(r.LEASES, fresh, LEASE_NAMESPACE)
        except ApiError as error:
            if error.code != 409:
                raise
        found = await self._client.get(r.LEASES, name, LEASE_NAMESPACE)
        return await self._client.update(r.LEASES, {**found, "spec": {**found["spec"], **spec}})


def _differs(status: Object, told: Object) -> bool:
    """Whether anything but the time of the heartbeat is different."""

    def essence(of: Object) -> Object:
        conditions = {c["type"]: (c["status"], c.get("reason")) for c in of.get("conditions") or ()}
        told_of = {key: of.get(key) for key in status if key not in ("conditions", "images")}
        ours = {type_: conditions.get(type_) for type_ in (c["type"] for c in status["conditions"])}
        return {**told_of, "conditions": ours, "images": of.get("images") or []}

    return essence(status) != essence(told)
