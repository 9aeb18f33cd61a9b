"""Which addresses do a node's pods get? Each node is given one /24 of the cluster's pod network, for its life.

No two nodes ever have overlapping ranges: there is one worker, and it remembers what it gave before the copy shows it.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

log = logging.getLogger(__name__)

NODE_PREFIX = 24  # upstream's default --node-cidr-mask-size: 254 pods, more than a node's 110
_SIZE = 1 << (32 - NODE_PREFIX)


class Ranges:
    """The /24s of the cluster's network, by their number in it, and which are taken. The lowest free one is next."""

    def __init__(self, cluster_cidr: str) -> None:
        network = ipaddress.ip_network(cluster_cidr)
        if not isinstance(network, ipaddress.IPv4Network) or network.prefixlen > NODE_PREFIX:
            raise ValueError(f"cluster_cidr {cluster_cidr}: an IPv4 network of at least a /{NODE_PREFIX} is needed")
        self._first = int(network.network_address)
        self._count = 1 << (NODE_PREFIX - network.prefixlen)
        self._of_node: dict[str, tuple[str, range]] = {}
        self._users: Counter[int] = Counter()  # how many nodes have (a part of) each /24

    def take(self, node: str, cidr: str) -> None:
        """The node has this range already, which need not be a /24."""
        self.free(node)
        network = ipaddress.ip_network(cidr, strict=False)
        numbers = range(0)
        if isinstance(network, ipaddress.IPv4Network):
            first, last = (self._number(address) for address in (network[0], network[-1]))
            numbers = range(max(first, 0), min(last + 1, self._count))
        self._of_node[node] = cidr, numbers
        self._users.update(numbers)

    def free(self, node: str) -> None:
        _, numbers = self._of_node.pop(node, ("", range(0)))
        self._users.subtract(numbers)

    def give(self, node: str) -> str | None:
        """A range for the node, the one it has if it has one; None when all are taken."""
        if node not in self._of_node:
            number = next((each for each in range(self._count) if not self._users[each]), None)
            if number is None:
                return None
            self.take(node, f"{ipaddress.IPv4Address(self._first + number * _SIZE)}/{NODE_PREFIX}")
        return self._of_node[node][0]

    def _number(self, address: ipaddress.IPv4Address) -> int:
        """Which /24 an address is in; those outside have numbers that no /24 has."""
        return (int(address) - self._first) // _SIZE


class NodeIpamController(Controller):
    """Writes ``spec.podCIDR`` and ``spec.podCIDRs`` of nodes that have none."""

    name = "node-ipam"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.ranges = Ranges(ctx.settings.cluster_cidr)
        self.nodes = ctx.informer(r.NODES)
        self.recorder = ctx.recorder("cidrAllocator")
        self.written: dict[str, str] = {}  # node -> uid of the one that was written: its copy may be behind
        self.nodes.on_change(self.node_changed)

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.ranges.free(old["metadata"]["name"])
            self.written.pop(old["metadata"]["name"], None)
            for node in self.nodes.list():  # one may have waited for the range
                if not node["spec"].get("podCIDR"):
                    self.queue.add(node["metadata"]["name"])
        elif new["spec"].get("podCIDR"):
            self.ranges.take(new["metadata"]["name"], new["spec"]["podCIDR"])
        else:
            self.queue.add(new["metadata"]["name"])

    async def reconcile(self, key: str) -> None:
        node = self.nodes.get(key)
        if node is None or node["spec"].get("podCIDR") or self.written.get(key) == node["metadata"]["uid"]:
            return
        cidr = self.ranges.give(key)
        if cidr is None:
            self.recorder.event(node, "Normal", "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable")
            return
        await self.ctx.client.patch(r.NODES, key, {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}, type="merge")
        self.written[key] = node["metadata"]["uid"]
        log.info("node %s: pods get %s", key, cidr)
