"""How long may a kubelet keep what pods refer to before it looks again? The larger the cluster, the longer.

Kubelets that fetch Secrets and ConfigMaps, instead of watching them, read it from an annotation of their Node.
"""

from __future__ import annotations

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

ANNOTATION = "node.alpha.kubernetes.io/ttl"
_STEPS = (  # seconds, for clusters of so many nodes: a smaller one than the first keeps what the step before it says
    (0, 0, 100),
    (15, 90, 500),
    (30, 450, 1000),
    (60, 900, 2000),
    (300, 1800, 1 << 31),
)


def step(before: int, nodes: int) -> int:
    """The index of the step: it changes only when the cluster leaves the range of the one before. Pure."""
    while nodes > _STEPS[before][2]:
        before += 1
    while nodes < _STEPS[before][1]:
        before -= 1
    return before


class NodeTtlController(Controller):
    """Writes the annotation of every Node."""

    name = "ttl"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.step = 0
        self.nodes = ctx.informer(r.NODES)
        self.nodes.on_change(self.node_changed)

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        found = step(self.step, len(self.nodes))
        if found != self.step:
            self.step = found
            for node in self.nodes.list():
                self.queue.add(node["metadata"]["name"])
        elif new is not None and (new["metadata"].get("annotations") or {}).get(ANNOTATION) != self.seconds:
            self.queue.add(new["metadata"]["name"])

    @property
    def seconds(self) -> str:
        return str(_STEPS[self.step][0])

    async def reconcile(self, key: str) -> None:
        node = self.nodes.get(key)
        if node is None or (node["metadata"].get("annotations") or {}).get(ANNOTATION) == self.seconds:
            return
        patch = {"metadata": {"annotations": {ANNOTATION: self.seconds}}}
        await self.ctx.client.patch(r.NODES, key, patch, type="strategic")
