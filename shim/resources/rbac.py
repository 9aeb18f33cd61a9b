"""Roles and what binds them to users."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import control_rules
from shim.resources.control_rules import GROUP
from shim.resources.metadata import path_segment
from shim.resources.strategy import Check, Strategy


class RoleStrategy(Strategy):
    counts_generation = False
    update_checks = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE)
    allow_create_on_update = True
    name_rule = staticmethod(path_segment)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return control_rules.role(obj)


class BindingStrategy(Strategy):
    counts_generation = False
    update_checks = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE, Check.CHANGE)
    allow_create_on_update = True
    name_rule = staticmethod(path_segment)

    def default(self, obj: Object) -> None:
        reference = obj.get("roleRef")
        if reference and not reference.get("apiGroup"):
            reference["apiGroup"] = GROUP
        for subject in obj.get("subjects") or ():
            if subject.get("apiGroup") is None and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate_body(self, obj: Object) -> list[FieldError]:
        return control_rules.binding(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return control_rules.binding_change(new, old)
