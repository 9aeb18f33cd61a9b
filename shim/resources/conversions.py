"""Kinds that are stored in one form and served in two: events, and autoscalers.

Each function takes an object and returns a new one in the other form; what they share is shared, not copied.
"""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object

_EVENT_FIELDS = (
    # core/v1, where events are kept; events.k8s.io/v1
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_NEW = dict(_EVENT_FIELDS)
_TO_CORE = {new: old for old, new in _EVENT_FIELDS}


def event_to_core(event: Object) -> Object:
    """``events.k8s.io/v1`` -> ``v1``."""
    converted = {_TO_CORE.get(key, key): value for key, value in event.items()}
    return {**converted, "apiVersion": "v1"}


def event_from_core(event: Object) -> Object:
    """``v1`` -> ``events.k8s.io/v1``."""
    converted = {_TO_NEW.get(key, key): value for key, value in event.items()}
    for field in ("reportingController", "reportingInstance"):  # always printed there, only when set here
        if converted.get(field) == "":
            del converted[field]
    return {**converted, "apiVersion": "events.k8s.io/v1"}


_CPU = "targetCPUUtilizationPercentage"


def autoscaler_to_v2(scaler: Object) -> Object:
    """``autoscaling/v1`` -> ``autoscaling/v2``: the one CPU target becomes a metric."""
    spec = dict(scaler.get("spec") or {})
    cpu = spec.pop(_CPU, None)
    if cpu is not None:
        spec["metrics"] = [_cpu_metric("target", {"type": "Utilization", "averageUtilization": cpu})]
    status = dict(scaler.get("status") or {})
    current = status.pop("currentCPUUtilizationPercentage", None)
    if current is not None:
        status["currentMetrics"] = [_cpu_metric("current", {"averageUtilization": current})]
    return {**scaler, "apiVersion": "autoscaling/v2", "spec": spec, "status": status}


def autoscaler_from_v2(scaler: Object) -> Object:
    """``autoscaling/v2`` -> ``autoscaling/v1``; metrics that v1 has no word for are not shown."""
    spec, status = dict(scaler.get("spec") or {}), dict(scaler.get("status") or {})
    for metric in spec.pop("metrics", None) or ():
        target = (metric.get("resource") or {}).get("target") or {}
        if (metric.get("resource") or {}).get("name") == "cpu" and target.get("averageUtilization") is not None:
            spec[_CPU] = target["averageUtilization"]
    spec.pop("behavior", None)
    for metric in status.pop("currentMetrics", None) or ():
        current = (metric.get("resource") or {}).get("current") or {}
        if current.get("averageUtilization") is not None:
            status["currentCPUUtilizationPercentage"] = current["averageUtilization"]
    status.pop("conditions", None)
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    return {**scaler, "apiVersion": "autoscaling/v1", "spec": spec, "status": status}


def _cpu_metric(field: str, value: Any) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", field: value}}
