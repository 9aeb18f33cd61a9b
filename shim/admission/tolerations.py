"""A pod stays five minutes on a node that is gone or not ready, unless it says otherwise."""

from __future__ import annotations

from shim.admission.request import CREATE, UPDATE, Plugin, Reader, Request

SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(Plugin):
    resources = (("", "pods"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("pods", CREATE, UPDATE):
            return
        spec = request.obj["spec"]
        tolerations = spec.get("tolerations") or []
        missing = [
            {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
            for taint in TAINTS
            if not any(
                each.get("key") in (taint, "", None) and each.get("effect") in ("NoExecute", "", None)
                for each in tolerations
            )
        ]
        if missing:
            spec["tolerations"] = [*tolerations, *missing]
