"""What a pod puts up with on its node: five minutes of absence unless it says otherwise, and devices it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from shim.admission.request import CREATE, UPDATE, Plugin, Reader, Request
from shim.api import names
from shim.api.meta import Object
from shim.resources.pods.amounts import is_native

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


class ExtendedResourceToleration(Plugin):
    """A pod that asks for a device may be on the nodes that are tainted for its sake (off by default, as upstream)."""

    resources = (("", "pods"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("pods", CREATE, UPDATE):
            return
        spec = request.obj["spec"]
        for name in sorted(_devices(spec)):
            wanted = {"key": name, "operator": "Exists", "effect": "NoSchedule"}
            held = spec.get("tolerations") or []
            if any(_same_taint(each, wanted) for each in held):
                spec["tolerations"] = [wanted if _same_taint(each, wanted) else each for each in held]
            else:
                spec["tolerations"] = [*held, wanted]


def _devices(spec: Object) -> set[str]:
    containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    asked = {name for each in containers for name in (each.get("resources") or {}).get("requests") or ()}
    return {
        name
        for name in asked
        if not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")
    }


def _same_taint(one: Object, other: Object) -> bool:
    return all(
        (one.get(field) or default) == (other.get(field) or default)
        for field, default in (("key", ""), ("effect", ""), ("operator", ""), ("value", ""))
    )


def merge(tolerations: Sequence[Object]) -> list[Object]:
    """Without those that another one includes; of equal ones the first stays."""
    merged: list[Object] = []
    for index, each in enumerate(tolerations):
        later = (other for other in tolerations[index + 1 :] if other != each)
        if not any(_includes(other, each) for other in (*merged, *later)):
            merged.append(each)
    return merged


def _includes(wide: Object, narrow: Object) -> bool:
    if wide == narrow:
        return True
    key, operator, effect = wide.get("key") or "", wide.get("operator") or "", wide.get("effect") or ""
    if (narrow.get("key") or "") != key and (key or operator != "Exists"):
        return False
    if effect and (narrow.get("effect") or "") != effect:
        return False
    most, asked = wide.get("tolerationSeconds"), narrow.get("tolerationSeconds")
    if effect == "NoExecute" and most is not None and (asked is None or asked > most):
        return False
    if operator in ("", "Equal"):
        return narrow.get("operator") == "Equal" and (narrow.get("value") or "") == (wide.get("value") or "")
    return bool(operator == "Exists")
