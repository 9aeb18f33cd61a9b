"""Autoscalers are kept as autoscaling/v2 has them and served as v1 too, which knows one metric: the use of CPU.

The others, how to behave, and the conditions travel in annotations of the v1 form, so that a client of v1 that reads
and writes loses nothing. Each function takes an object and returns a new one; what they share is shared, not copied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from shim.api.meta import Object

_PREFIX = "autoscaling.alpha.kubernetes.io/"
_METRICS, _CURRENT = f"{_PREFIX}metrics", f"{_PREFIX}current-metrics"
_BEHAVIOR, _CONDITIONS = f"{_PREFIX}behavior", f"{_PREFIX}conditions"
_CARRIERS = (
    _METRICS,
    f"{_PREFIX}scale-down-tolerance",
    f"{_PREFIX}scale-up-tolerance",
    _CURRENT,
    _BEHAVIOR,
    _CONDITIONS,
)
_TARGET, _USED = "targetCPUUtilizationPercentage", "currentCPUUtilizationPercentage"

_Fields = tuple[tuple[str, tuple[str, ...], Any], ...]  # name in v1, path in v2, what v1 says where v2 says nothing

_SOURCES: Mapping[str, _Fields] = {
    "object": (
        ("target", ("describedObject",), None),
        ("metricName", ("metric", "name"), ""),
        ("targetValue", ("target", "value"), "0"),
        ("selector", ("metric", "selector"), None),
        ("averageValue", ("target", "averageValue"), None),
    ),
    "pods": (
        ("metricName", ("metric", "name"), ""),
        ("targetAverageValue", ("target", "averageValue"), "0"),
        ("selector", ("metric", "selector"), None),
    ),
    "resource": (
        ("name", ("name",), ""),
        ("targetAverageUtilization", ("target", "averageUtilization"), None),
        ("targetAverageValue", ("target", "averageValue"), None),
    ),
    "containerResource": (
        ("name", ("name",), ""),
        ("targetAverageUtilization", ("target", "averageUtilization"), None),
        ("targetAverageValue", ("target", "averageValue"), None),
        ("container", ("container",), ""),
    ),
    "external": (
        ("metricName", ("metric", "name"), ""),
        ("metricSelector", ("metric", "selector"), None),
        ("targetValue", ("target", "value"), None),
        ("targetAverageValue", ("target", "averageValue"), None),
    ),
}
_READINGS: Mapping[str, _Fields] = {
    "object": (
        ("target", ("describedObject",), None),
        ("metricName", ("metric", "name"), ""),
        ("currentValue", ("current", "value"), "0"),
        ("selector", ("metric", "selector"), None),
        ("averageValue", ("current", "averageValue"), None),
    ),
    "pods": (
        ("metricName", ("metric", "name"), ""),
        ("currentAverageValue", ("current", "averageValue"), "0"),
        ("selector", ("metric", "selector"), None),
    ),
    "resource": (
        ("name", ("name",), ""),
        ("currentAverageUtilization", ("current", "averageUtilization"), None),
        ("currentAverageValue", ("current", "averageValue"), "0"),
    ),
    "containerResource": (
        ("name", ("name",), ""),
        ("currentAverageUtilization", ("current", "averageUtilization"), None),
        ("currentAverageValue", ("current", "averageValue"), "0"),
        ("container", ("container",), ""),
    ),
    "external": (
        ("metricName", ("metric", "name"), ""),
        ("metricSelector", ("metric", "selector"), None),
        ("currentValue", ("current", "value"), "0"),
        ("currentAverageValue", ("current", "averageValue"), None),
    ),
}
_RULES = ("ScaleUp", "ScaleDown")
_CONDITION_FIELDS = ("type", "status", "lastTransitionTime", "reason", "message")


def without_carriers(annotations: Mapping[str, str] | None) -> dict[str, str]:
    """Annotations but for those that carry v2's fields in v1: in v2 they mean nothing."""
    return {key: value for key, value in (annotations or {}).items() if key not in _CARRIERS}


def to_v2(scaler: Object) -> Object:
    """``autoscaling/v1`` -> ``autoscaling/v2``."""
    annotations = (scaler.get("metadata") or {}).get("annotations") or {}
    spec, status = dict(scaler.get("spec") or {}), dict(scaler.get("status") or {})
    metrics = _read(annotations, _METRICS, lambda found: [_metric_to_v2(_SOURCES, each) for each in found]) or []
    wanted = spec.pop(_TARGET, None)
    if wanted is not None:
        metrics.append(_cpu("target", {"type": "Utilization", "averageUtilization": wanted}))
    if metrics:
        spec["metrics"] = metrics
    if behavior := _read(annotations, _BEHAVIOR, _behavior_to_v2):
        spec["behavior"] = behavior
    used = status.pop(_USED, None)
    current = _read(annotations, _CURRENT, lambda found: [_metric_to_v2(_READINGS, each) for each in found])
    if current is None and used is not None:
        current = [_cpu("current", {"averageUtilization": used})]
    status["currentMetrics"] = current
    if conditions := _read(annotations, _CONDITIONS, lambda found: [_condition(each) for each in found]):
        status["conditions"] = conditions
    return _with(scaler, "autoscaling/v2", without_carriers(annotations), spec, status)


def from_v2(scaler: Object) -> Object:
    """``autoscaling/v2`` -> ``autoscaling/v1``."""
    annotations = without_carriers((scaler.get("metadata") or {}).get("annotations"))
    spec, status = dict(scaler.get("spec") or {}), dict(scaler.get("status") or {})
    others: list[Object] = []
    for metric in spec.pop("metrics", None) or ():
        wanted = _cpu_use(metric, "target") if metric.get("type") == "Resource" else None
        if wanted is None:
            others.append(_metric_to_v1(_SOURCES, metric))
        else:
            spec.setdefault(_TARGET, wanted)
    if others:
        annotations[_METRICS] = _text(others)
    if current := status.pop("currentMetrics", None):
        annotations[_CURRENT] = _text([_metric_to_v1(_READINGS, each) for each in current])
        for metric in current:
            used = _cpu_use(metric, "current") if metric.get("type") == "Resource" else None
            if used is not None:
                status[_USED] = used
    behavior = spec.pop("behavior", None)
    if behavior is not None:
        annotations[_BEHAVIOR] = _text(_behavior_to_v1(behavior))
    if conditions := status.pop("conditions", None):
        annotations[_CONDITIONS] = _text([_condition(each) for each in conditions])
    status = {"currentReplicas": 0, "desiredReplicas": 0, **status}
    return _with(scaler, "autoscaling/v1", annotations, spec, status)


def _with(scaler: Object, version: str, annotations: dict[str, str], spec: Object, status: Object) -> Object:
    metadata = {key: value for key, value in (scaler.get("metadata") or {}).items() if key != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    return {**scaler, "apiVersion": version, "metadata": metadata, "spec": spec, "status": status}


def _cpu(field: str, value: Object) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", field: value}}


def _cpu_use(metric: Object, field: str) -> int | None:
    source = metric.get("resource") or {}
    if source.get("name") != "cpu":
        return None
    use: int | None = (source.get(field) or {}).get("averageUtilization")
    return use


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _metric_to_v1(table: Mapping[str, _Fields], metric: Object) -> Object:
    converted: Object = {"type": metric.get("type") or ""}
    for kind, fields in table.items():
        source = metric.get(kind)
        if source is None:
            continue
        found = {}
        for name, path, missing in fields:
            value: Any = source
            for step in path:
                value = (value or {}).get(step)
            if name == "target" and value is not None:  # in v1's own order, since the text is compared
                value = {field: value[field] for field in ("kind", "name", "apiVersion") if field in value}
            if value is not None or missing is not None:
                found[name] = missing if value is None else value
        converted[kind] = found
    return converted


def _metric_to_v2(table: Mapping[str, _Fields], metric: Any) -> Object:
    """Raises ValueError for what v1 has no such field of."""
    converted: Object = {"type": _must_be(metric.get("type") or "", str)}
    for kind, fields in table.items():
        source = metric.get(kind)
        if source is None:
            continue
        found: Object = {}
        for name, path, missing in fields:
            value = source.get(name)
            if value is None:
                value = missing
            if value is None:
                continue
            _must_be(value, _kind_of(name))
            at = found
            for step in path[:-1]:
                at = at.setdefault(step, {})
            at[path[-1]] = value
        if table is _SOURCES:
            found["target"] = _typed(kind, found.get("target") or {})
        converted[kind] = found
    return converted


def _typed(kind: str, target: Object) -> Object:
    """v1 tells a target's type by what is given."""
    if kind == "object" and "averageValue" in target and target.get("value") == "0":
        target = {key: value for key, value in target.items() if key != "value"}
    if kind in ("resource", "containerResource"):
        return {"type": "Utilization" if "averageUtilization" in target else "AverageValue", **target}
    by_value = "averageValue" not in target if kind == "object" else kind == "external" and "value" in target
    return {"type": "Value" if by_value else "AverageValue", **target}


def _kind_of(name: str) -> type:
    if name.endswith("Utilization"):
        return int
    return dict if name in ("target", "selector", "metricSelector") else str


def _must_be(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    if isinstance(value, dict):
        for item in value.values():
            if isinstance(item, dict):
                _must_be(item, dict)
            elif isinstance(item, list):
                for each in item:
                    _must_be(each, dict)
            else:
                _must_be(item, str)
    return value


def _behavior_to_v1(behavior: Object) -> Object:
    """v1 carries the server's own struct, by its Go names."""
    return {rule: _rule_to_v1(behavior.get(rule[0].lower() + rule[1:])) for rule in _RULES}


def _rule_to_v1(rule: Object | None) -> Object | None:
    if rule is None:
        return None
    policies = rule.get("policies")
    return {
        "StabilizationWindowSeconds": rule.get("stabilizationWindowSeconds"),
        "SelectPolicy": rule.get("selectPolicy"),
        "Policies": policies
        and [
            {
                "Type": each.get("type") or "",
                "Value": each.get("value") or 0,
                "PeriodSeconds": each.get("periodSeconds") or 0,
            }
            for each in policies
        ],
        "Tolerance": rule.get("tolerance"),
    }


def _behavior_to_v2(found: Any) -> Object:
    behavior: Object = {}
    for name in _RULES:
        rule = found.get(name)
        if rule is None:
            continue
        kinds = {"StabilizationWindowSeconds": int, "SelectPolicy": str, "Tolerance": str}
        converted = {
            field[0].lower() + field[1:]: _must_be(rule[field], kind)
            for field, kind in kinds.items()
            if rule.get(field) is not None
        }
        if rule.get("Policies") is not None:
            converted["policies"] = [
                {
                    "type": _must_be(each.get("Type") or "", str),
                    "value": _must_be(each.get("Value") or 0, int),
                    "periodSeconds": _must_be(each.get("PeriodSeconds") or 0, int),
                }
                for each in rule["Policies"]
            ]
        behavior[name[0].lower() + name[1:]] = converted
    return behavior


def _condition(condition: Any) -> Object:
    return {name: _must_be(condition[name], str) for name in _CONDITION_FIELDS if condition.get(name) is not None}


def _read(annotations: Mapping[str, str], name: str, convert: Callable[[Any], Any]) -> Any:
    """What an annotation carries; None where there is none, or it cannot be read, as upstream passes over it."""
    text = annotations.get(name)
    if text is None:
        return None
    try:
        return convert(json.loads(text))
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
