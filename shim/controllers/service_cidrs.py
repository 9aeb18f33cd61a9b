"""May this range of Service addresses go? A ServiceCIDR keeps a finalizer while an address would be left without one.

Every ServiceCIDR is ready as soon as this controller has seen it. One that is deleted goes when another contains it,
or when none of the addresses that Services have is in it alone (KEP-1880).
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Iterator

from shim.api.conditions import find
from shim.api.meta import Object, now, parse_time
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
GRACE = datetime.timedelta(seconds=10)  # until every API server knows that it gives out no more of a range
ALLOCATOR = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
READY = ("True", "", "Kubernetes Service CIDR is ready")
IN_USE = (
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)


def networks(service_cidr: Object) -> Iterator[Network]:
    """The ranges of a ServiceCIDR."""
    for text in service_cidr["spec"].get("cidrs") or ():
        yield ipaddress.ip_network(text)


def holds(network: Network, address: Address) -> bool:
    """Whether a Service could have this address of a range: not its first, nor the broadcast address."""
    if address not in network or address == network.network_address:
        return False
    return address.version == 6 or address != network.broadcast_address


def contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def is_needed(service_cidr: Object, others: Iterable[Object], addresses: Iterable[Address]) -> bool:
    """Whether an address of Services would be in no range without this one."""
    outer = [network for other in others for network in networks(other)]
    alone = [own for own in networks(service_cidr) if not any(contains(other, own) for other in outer)]
    return bool(alone) and any(
        any(holds(own, address) for own in networks(service_cidr)) and not any(holds(each, address) for each in outer)
        for address in addresses
    )


class ServiceCidrController(Controller):
    """Follows ServiceCIDRs, and the addresses that may hold one."""

    name = "service-cidr-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.recorder = ctx.recorder(self.name)
        self.cidrs = ctx.informer(r.SERVICECIDRS)
        self.addresses = ctx.informer(r.IPADDRESSES)
        self.cidrs.on_change(self.cidr_changed)
        self.addresses.on_change(self.address_changed)

    def cidr_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        self.queue.add(new["metadata"]["name"])
        if old is None:  # it may take the addresses that hold another one
            self.queue_going(own for own in networks(new))

    def address_changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and (old is None or new is None) and is_service_address(obj):
            self.queue_going([ipaddress.ip_network(obj["metadata"]["name"])])

    def queue_going(self, changed: Iterable[Network]) -> None:
        """Look again at what is on its way out and concerned by these ranges."""
        changed = list(changed)
        for each in self.cidrs.list():
            if each["metadata"].get("deletionTimestamp") and any(
                own.version == other.version and own.overlaps(other) for own in networks(each) for other in changed
            ):
                self.queue.add(each["metadata"]["name"])

    async def reconcile(self, key: str) -> None:
        obj = self.cidrs.get(key)
        if obj is None:
            return
        metadata = obj["metadata"]
        held = FINALIZER in (metadata.get("finalizers") or ())
        if not metadata.get("deletionTimestamp"):
            if not held:
                await self.patch_finalizers(key, {"finalizers": [FINALIZER]})
            await self.judge(obj, *READY)
            return
        others = [each for each in self.cidrs.list() if each["metadata"]["name"] != key]
        used = (
            ipaddress.ip_address(each["metadata"]["name"]) for each in self.addresses.list() if is_service_address(each)
        )
        if is_needed(obj, others, used):
            await self.judge(obj, *IN_USE)
            return
        age = datetime.datetime.now(datetime.UTC) - parse_time(metadata["deletionTimestamp"])
        if age < GRACE:
            self.queue.add_after(key, (GRACE - age).total_seconds())
        elif held:
            await self.patch_finalizers(key, {"$deleteFromPrimitiveList/finalizers": [FINALIZER]})

    async def patch_finalizers(self, name: str, metadata: Object) -> None:
        try:
            await self.ctx.client.patch(r.SERVICECIDRS, name, {"metadata": metadata}, type="strategic")
        except ApiError as error:
            if error.code != 404:
                raise

    async def judge(self, obj: Object, status: str, reason: str, message: str) -> None:
        """Set the condition Ready, if it says anything else."""
        wanted = {"type": "Ready", "status": status, "reason": reason, "message": message}
        current = find(obj, "Ready") or {}
        if all((current.get(field) or "") == value for field, value in wanted.items()):
            return
        name = obj["metadata"]["name"]
        applied = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": name},
            "status": {"conditions": [{**wanted, "lastTransitionTime": now()}]},
        }
        try:
            await self.ctx.client.patch(
                r.SERVICECIDRS,
                name,
                applied,
                subresource="status",
                type="apply",
                field_manager=self.name,
                force=True,
            )
        except ApiError:
            text = "The ServiceCIDR Status can not be set to Ready=True"
            if status == "True":
                self.recorder.event(obj, "Warning", "KubernetesServiceCIDRError", text)
            raise


def is_service_address(address: Object) -> bool:
    """Whether an IPAddress is one that the API server gave a Service."""
    return ALLOCATOR.items() <= (address["metadata"].get("labels") or {}).items()
