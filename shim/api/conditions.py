"""Conditions (``status.conditions``): find one, ask it, set it without changing what did not change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shim.api.meta import Object, now


def find(obj: Mapping[str, Any], type: str) -> Object | None:
    """The condition of this type in the object's status, if it has one."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type:
            found: Object = condition
            return found
    return None


def is_true(obj: Mapping[str, Any], type: str) -> bool:
    condition = find(obj, type)
    return condition is not None and condition.get("status") == "True"


def set_condition(conditions: list[Object], type: str, status: str, reason: str, message: str, **more: Any) -> bool:
    """Set a condition in a status' list; ``lastTransitionTime`` moves only with ``status``. Returns whether it changed.

    ``more`` are further fields, e.g. ``observedGeneration`` or ``lastUpdateTime``.
    """
    wanted: Object = {"type": type, "status": status, "reason": reason, "message": message, **more}
    wanted = {key: value for key, value in wanted.items() if value not in ("", None)}
    for index, current in enumerate(conditions):
        if current.get("type") != type:
            continue
        same_status = current.get("status") == status
        wanted["lastTransitionTime"] = (current.get("lastTransitionTime") if same_status else None) or now()
        ignored = ("lastUpdateTime", "lastHeartbeatTime", "lastProbeTime")
        kept = {key: value for key, value in current.items() if key in ignored}
        conditions[index] = {**kept, **wanted}
        return {k: v for k, v in current.items() if k not in ignored} != {
            k: v for k, v in wanted.items() if k not in ignored
        }
    conditions.append({**wanted, "lastTransitionTime": now()})
    return True
