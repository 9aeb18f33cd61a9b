"""PriorityClasses: which pods go first. Two of them are the cluster's own."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import IMMUTABLE, forbidden, invalid, one_of, required
from shim.resources.strategy import Check, Strategy

HIGHEST_USER_PRIORITY = 1_000_000_000
_SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_RESERVED = "priority class names with 'system-' prefix are reserved for system use only. error:"


class PriorityClassStrategy(Strategy):
    update_checks = (Check.METADATA_CHANGE, Check.CHANGE)

    def default(self, obj: Object) -> None:
        if obj.get("preemptionPolicy") is None:
            obj["preemptionPolicy"] = "PreemptLowerPriority"
        if obj.get("value") is None:
            obj["value"] = 0

    def desired_changed(self, new: Object, old: Object) -> bool:
        return False  # what would count may not change

    def validate_body(self, obj: Object) -> list[FieldError]:
        name, value = obj["metadata"].get("name") or "", obj.get("value") or 0
        causes: list[FieldError] = []
        if name.startswith("system-"):
            why = _not_of_the_system(name, value, bool(obj.get("globalDefault")))
            if why:
                causes.append(forbidden("metadata.name", f"{_RESERVED} {why}"))
        elif value > HIGHEST_USER_PRIORITY:
            text = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
            causes.append(forbidden("value", text))
        policy = obj.get("preemptionPolicy")
        if policy == "":
            causes.append(required("preemptionPolicy"))
        elif policy is not None:
            causes += one_of("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))
        return causes

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        causes: list[FieldError] = []
        if (new.get("value") or 0) != (old.get("value") or 0):
            causes.append(forbidden("value", "may not be changed in an update."))
        if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
            causes.append(invalid("preemptionPolicy", new.get("preemptionPolicy"), IMMUTABLE))
        return causes


def _not_of_the_system(name: str, value: int, is_default: bool) -> str:
    """Why this is not one of the cluster's own classes."""
    if name not in _SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != _SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {_SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""
