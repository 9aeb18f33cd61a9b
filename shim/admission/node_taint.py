"""A new node is tainted as not ready until the node controller has seen it ready, so that nothing lands on it early."""

from __future__ import annotations

from shim.admission.request import CREATE, Plugin, Reader, Request

TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(Plugin):
    resources = (("", "nodes"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("nodes", CREATE):
            return
        spec = request.obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(each.get("key") == TAINT["key"] and each.get("effect") == TAINT["effect"] for each in taints):
            spec["taints"] = [*taints, dict(TAINT)]
