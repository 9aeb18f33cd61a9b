"""A pod takes over from its node in which zone and region it runs (KEP-4742), for it cannot read nodes itself."""

from __future__ import annotations

from shim.admission.request import CREATE, Plugin, Reader, Request
from shim.api.meta import GVR, Object

NODES = GVR("", "v1", "nodes", namespaced=False)
LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    """By way of the Binding's labels, which its pod takes over; or at once for a pod that names its node."""

    resources = (("", "pods"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        obj = request.obj
        if obj is None:
            return
        if request.is_for("pods", CREATE, subresource="binding"):
            target = obj.get("target") or {}
            _take_over(obj, target.get("name") if target.get("kind") == "Node" else None, reader)
        elif request.is_for("pods", CREATE):
            _take_over(obj, obj["spec"].get("nodeName"), reader)


def _take_over(obj: Object, node: str | None, reader: Reader) -> None:
    found = reader.get(NODES, None, node) if node else None
    labels = ((found or {}).get("metadata") or {}).get("labels") or {}
    if taken := {label: labels[label] for label in LABELS if label in labels}:
        metadata = obj.setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **taken}
