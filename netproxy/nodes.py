"""Routes to the pods of other nodes, from the Node objects: pod CIDR by way of the node's address."""

from __future__ import annotations

import asyncio
import logging

from netproxy.links import routes
from shim.api.meta import Object
from shim.client import Informer

log = logging.getLogger(__name__)

RETRY = 5.0


def pod_route(node: Object) -> tuple[str, str] | None:
    """A node's pod CIDR and address, once it has both."""
    cidr = (node.get("spec") or {}).get("podCIDR")
    for address in (node.get("status") or {}).get("addresses") or ():
        if cidr and address.get("type") == "InternalIP" and ":" not in address["address"]:
            return cidr, address["address"]
    return None


class PodRoutes:
    """Keeps this namespace's routes equal to the nodes; they stay when the loop ends."""

    def __init__(self, nodes: Informer, node_name: str) -> None:
        """``node_name`` is empty on a machine that is no node."""
        self._nodes, self._node_name = nodes, node_name
        self._changed = asyncio.Event()
        nodes.on_change(self._on_node)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._nodes.synced()
        while True:
            self._changed.clear()
            found = {node["metadata"]["name"]: pod_route(node) for node in self._nodes.list()}
            own = found.pop(self._node_name, None)
            try:
                if own is not None or not self._node_name:
                    others = dict(route for route in found.values() if route)
                    await asyncio.to_thread(routes.sync_pod_routes, others, own)
            except OSError as error:  # no way to a node, or an address that is not there yet
                log.warning("routes to pods of other nodes: %s", error)
                await asyncio.sleep(RETRY)
                continue
            await self._changed.wait()

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if (pod_route(old) if old else None) != (pod_route(new) if new else None):
            self._changed.set()
