"""Conditions of pods, as the server itself sets them."""

from __future__ import annotations

from shim.api.conditions import set_condition
from shim.api.meta import Object


def set_pod_condition(pod: Object, type: str, status: str, reason: str = "", message: str = "") -> None:
    """Set a condition; a pod's conditions always print when they were last probed."""
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    set_condition(conditions, type, status, reason, message)
    for condition in conditions:
        if condition["type"] == type:
            condition.setdefault("lastProbeTime", None)
