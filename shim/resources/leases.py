"""Leases: who leads, or who is alive, and until when others should believe it."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, named, not_negative, one_of
from shim.resources.strategy import Check, Strategy

_COORDINATED = ("strategy", "preferredHolder")
"""Fields of coordinated leader election (KEP-4355), which is off in v1.36: new leases lose them."""


class LeaseStrategy(Strategy):
    counts_generation = False
    allow_create_on_update = True
    allow_unconditional_update = False
    any_finalizer = True
    update_checks = (Check.METADATA_CHANGE, Check.BODY)

    def prepare_for_create(self, obj: Object) -> None:
        self.prepare_for_update(obj, {})

    def prepare_for_update(self, new: Object, old: Object) -> None:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        for field in _COORDINATED:
            if before.get(field) is None:
                spec.pop(field, None)

    def validate_body(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        seconds, strategy = spec.get("leaseDurationSeconds"), spec.get("strategy")
        causes: list[FieldError] = []
        if seconds is not None and seconds <= 0:
            causes.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        causes += not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))
        if strategy is not None:
            causes += _strategy("spec.strategy.strategy", strategy)
        if spec.get("preferredHolder") and not strategy:
            text = "may only be specified if `strategy` is defined"
            causes.append(forbidden("spec.preferredHolder", text))
        return causes


def _strategy(at: str, name: str) -> list[FieldError]:
    """How a leader is chosen: upstream's way, or somebody's own under their domain."""
    if "/" in name:
        return named(at, name, names.qualified_name)
    return one_of(at, name, ("OldestEmulationVersion",))
