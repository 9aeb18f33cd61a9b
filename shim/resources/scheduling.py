"""Kinds that say which pods go first and how many there must be: priorities, disruption budgets, autoscalers."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import control_rules, metadata
from shim.resources.strategy import Strategy


class PriorityClassStrategy(Strategy):
    def default(self, obj: Object) -> None:
        if obj.get("preemptionPolicy") is None:
            obj["preemptionPolicy"] = "PreemptLowerPriority"
        if obj.get("value") is None:
            obj["value"] = 0

    def validate_body(self, obj: Object) -> list[FieldError]:
        return control_rules.priority_class(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old), *control_rules.priority_class_change(new, old)]


class DisruptionBudgetStrategy(Strategy):
    has_status = True

    def initial_status(self, obj: Object) -> Object:
        return {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return control_rules.disruption_budget(obj)


class AutoscalerStrategy(Strategy):
    counts_generation = False
    has_status = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]

    def initial_status(self, obj: Object) -> Object:
        return {"desiredReplicas": 0, "currentMetrics": None}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return control_rules.autoscaler(obj)
