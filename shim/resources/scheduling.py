"""How many of a set of pods there must be: disruption budgets."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import control_rules, metadata
from shim.resources.causes import conditions, not_negative
from shim.resources.strategy import Check, Strategy


class DisruptionBudgetStrategy(Strategy):
    has_status = True
    allow_unconditional_update = False
    update_checks = (Check.BODY,)
    trusts_metadata = True

    def initial_status(self, obj: Object) -> Object:
        return {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}

    def validate(self, obj: Object) -> list[FieldError]:
        return control_rules.disruption_budget(obj) or metadata.validate_any(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return control_rules.disruption_budget(obj)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        causes = conditions("status.conditions", status.get("conditions") or [])
        for field in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
            causes += not_negative(f"status.{field}", status.get(field))
        return causes
