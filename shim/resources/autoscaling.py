"""HorizontalPodAutoscalers: defaults, and what must hold of them. Their rules are asked of the v2 form alone."""

from __future__ import annotations

from typing import Any

from shim.api import names
from shim.api.meta import Object, split_api_version
from shim.api.status import FieldError
from shim.resources import autoscaler_versions, metadata
from shim.resources.amounts import amount
from shim.resources.causes import forbidden, invalid, named, not_negative, one_of, required, unsupported
from shim.resources.metadata import path_segment
from shim.resources.pods.amounts import container_resource
from shim.resources.strategy import Strategy

_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Object = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
_CPU_USE = 80  # percent
_MAX_WINDOW, _MAX_PERIOD = 3600, 1800  # seconds
_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_SOURCES = ("object", "external", "pods", "resource", "containerResource")  # in the order they are looked at


class AutoscalerStrategy(Strategy):
    counts_generation = False
    has_status = True

    def default(self, obj: Object) -> None:
        spec, meta = obj.setdefault("spec", {}), obj["metadata"]
        if meta.get("annotations"):
            meta["annotations"] = autoscaler_versions.without_carriers(meta["annotations"])
            if not meta["annotations"]:
                del meta["annotations"]
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": _CPU_USE}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior is not None:
            behavior["scaleUp"] = {**_UP, **(behavior.get("scaleUp") or {})}
            behavior["scaleDown"] = {**_DOWN, **(behavior.get("scaleDown") or {})}

    def initial_status(self, obj: Object) -> Object:
        return {"desiredReplicas": 0, "currentMetrics": None}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return _autoscaler(obj, None)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old), *_autoscaler(new, old)]

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        causes, status = metadata.validate_update(new, old), new.get("status") or {}
        for field in ("currentReplicas", "desiredReplicas"):
            causes += not_negative(f"status.{field}", status.get(field))
        return causes


def _autoscaler(obj: Object, old: Object | None) -> list[FieldError]:
    spec, before = obj.get("spec") or {}, (old or {}).get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    causes: list[FieldError] = []
    lowest = 0 if before.get("minReplicas") == 0 else 1  # scaling to zero is an alpha feature
    if least is not None and least < lowest:
        causes.append(invalid("spec.minReplicas", least, f"must be greater than or equal to {lowest}"))
    if not most:
        causes.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif most < 0:
        causes.append(invalid("spec.maxReplicas", most, "must be greater than or equal to 1"))
    if least is not None and most < least:
        causes.append(invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    causes += _reference("spec.scaleTargetRef", target)
    had = before.get("scaleTargetRef") or {}
    if old is None or any((target.get(name) or "") != (had.get(name) or "") for name in ("apiVersion", "kind")):
        causes += _version("spec.scaleTargetRef", target, needs_group=target.get("kind") != "ReplicationController")
    metrics = spec.get("metrics") or ()
    told = any(
        _version("", (metric.get("object") or {}).get("describedObject") or {}, needs_group=False)
        for metric in before.get("metrics") or ()
        if metric.get("type") == "Object"
    )
    for index, metric in enumerate(metrics):
        causes += _metric(f"spec.metrics[{index}]", metric, check_version=not told)
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        causes.append(forbidden("spec.metrics", text))
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if rules is not None:
            causes += _scaling(f"spec.behavior.{direction}", rules)
    return causes


def _reference(at: str, reference: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field in ("kind", "name"):
        value = reference.get(field) or ""
        causes += named(f"{at}.{field}", value, path_segment) if value else [required(f"{at}.{field}")]
    return causes


def _version(at: str, reference: Object, *, needs_group: bool) -> list[FieldError]:
    version = reference.get("apiVersion") or ""
    if version.count("/") > 1:
        return [invalid(f"{at}.apiVersion", version, f"unexpected GroupVersion string: {version}")]
    if needs_group and not split_api_version(version)[0]:
        return [invalid(f"{at}.apiVersion", version, "apiVersion must specify API group")]
    return []


def _metric(at: str, metric: Object, *, check_version: bool) -> list[FieldError]:
    kind = metric.get("type") or ""
    causes = [] if kind else [required(f"{at}.type", "must specify a metric source type")]
    if kind not in _TYPES:
        causes.append(unsupported(f"{at}.type", kind, _TYPES))
    present = [source for source in _SOURCES if metric.get(source) is not None]
    if present:
        causes += _source(f"{at}.{present[0]}", present[0], metric[present[0]], check_version)
    expected = kind[:1].lower() + kind[1:]
    if kind not in _TYPES:
        causes.append(unsupported(f"{at}.type", kind, _TYPES))
    elif expected not in present:
        causes.append(required(f"{at}.{expected}", "must populate information for the given metric source"))
    if len(present) != 1:
        text = "must populate the given metric source only"
        causes += [forbidden(f"{at}.{source}", text) for source in present if source != expected]
    return causes


def _source(at: str, kind: str, source: Object, check_version: bool) -> list[FieldError]:
    target = source.get("target") or {}
    value, average, use = (target.get(name) for name in ("value", "averageValue", "averageUtilization"))
    causes: list[FieldError] = []
    if kind == "object":
        described = source.get("describedObject") or {}
        causes += _reference(f"{at}.describedObject", described)
        if check_version:
            causes += _version(f"{at}.describedObject", described, needs_group=False)
    if kind in ("resource", "containerResource"):
        name = source.get("name") or ""
        if not name:
            causes.append(required(f"{at}.name", "must specify a resource name"))
        elif kind == "containerResource":
            causes += container_resource(f"{at}.name", name)
    else:
        name = (source.get("metric") or {}).get("name") or ""
        missing = [required(f"{at}.metric.name", "must specify a metric name")]
        causes += named(f"{at}.metric.name", name, path_segment) if name else missing
    if kind == "containerResource":
        container = source.get("container") or ""
        missing = [required(f"{at}.container", "must specify a container")]
        causes += named(f"{at}.container", container, names.dns1123_label) if container else missing
    at = f"{at}.target"
    causes += _target(at, target)
    if kind == "object" and value is None and average is None:
        causes.append(required(f"{at}.averageValue", "must set either a target value or averageValue"))
    if kind == "external":
        if value is None and average is None:
            text = "must set either a target value for metric or a per-pod target"
            causes.append(required(f"{at}.averageValue", text))
        if value is not None and average is not None:
            text = "may not set both a target value for metric and a per-pod target"
            causes.append(forbidden(f"{at}.value", text))
    if kind == "pods" and average is None:
        causes.append(required(f"{at}.averageValue", "must specify a positive target averageValue"))
    if kind in ("resource", "containerResource"):
        if use is None and average is None:
            text = "must set either a target raw value or a target utilization"
            causes.append(required(f"{at}.averageUtilization", text))
        if use is not None and average is not None:
            text = "may not set both a target raw value and a target utilization"
            causes.append(forbidden(f"{at}.averageValue", text))
    return causes


def _target(at: str, target: Object) -> list[FieldError]:
    kind = target.get("type") or ""
    causes = [] if kind else [required(f"{at}.type", "must specify a metric target type")]
    if kind not in ("Utilization", "Value", "AverageValue"):
        causes.append(invalid(f"{at}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for field in ("value", "averageValue"):
        text: Any = target.get(field)
        if text is not None and amount(text).nanos <= 0:
            causes.append(invalid(f"{at}.{field}", text, "must be positive"))
    use = target.get("averageUtilization")
    if use is not None and use < 1:
        causes.append(invalid(f"{at}.averageUtilization", use, "must be greater than 0"))
    return causes


def _scaling(at: str, rules: Object) -> list[FieldError]:
    window, select = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    causes: list[FieldError] = []
    if window is not None and window < 0:
        causes.append(invalid(f"{at}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > _MAX_WINDOW:
        text = f"must be less than or equal to {_MAX_WINDOW}"
        causes.append(invalid(f"{at}.stabilizationWindowSeconds", window, text))
    if select is not None:
        causes += one_of(f"{at}.selectPolicy", select, ("Disabled", "Max", "Min"))
    if not rules.get("policies"):
        causes.append(required(f"{at}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(rules.get("policies") or ()):
        here, period = f"{at}.policies[{index}]", policy.get("periodSeconds") or 0
        causes += one_of(f"{here}.type", policy.get("type") or "", ("Percent", "Pods"))
        if (policy.get("value") or 0) <= 0:
            causes.append(invalid(f"{here}.value", policy.get("value") or 0, "must be greater than zero"))
        if period <= 0:
            causes.append(invalid(f"{here}.periodSeconds", period, "must be greater than zero"))
        if period > _MAX_PERIOD:
            causes.append(invalid(f"{here}.periodSeconds", period, f"must be less than or equal to {_MAX_PERIOD}"))
    tolerance = rules.get("tolerance")
    if tolerance is not None and amount(tolerance).nanos < 0:
        causes.append(invalid(f"{at}.tolerance", tolerance, "must be greater than or equal to 0"))
    return causes
