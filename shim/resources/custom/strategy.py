"""How custom resources behave: the same questions as of built-in kinds, answered from a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shim.api import jsonpath, names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import invalid
from shim.resources.custom import defaulting, lists, rules, values
from shim.resources.custom.structure import Node
from shim.resources.strategy import ScalePaths, Strategy, TakesLong

_BLOCKING = frozenset(
    "FieldValueNotSupported FieldValueRequired FieldValueTooLong FieldValueTooMany FieldValueTypeInvalid".split()
)
_UNCHECKED = FieldError(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)
_STANDARD_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")
_MAX_INT32 = 2**31 - 1
_PATIENCE = 20_000  # of the ten million units that rules may cost: about 20 ms, in which nobody else is answered


class CustomStrategy(Strategy):
    """One version of one custom resource."""

    allow_unconditional_update = False
    status_resets = ("metadata", "spec")

    def __init__(
        self, root: Node, *, has_status: bool, scale: ScalePaths | None, selectable: tuple[str, ...] = ()
    ) -> None:
        self.root = root
        self.has_status = has_status
        self.scale_paths = scale
        self._rules = rules.build(root, root=True)
        self._selectable = {path.removeprefix("."): jsonpath.parse(path) for path in selectable}

    def default(self, obj: Object) -> None:
        self._fill(obj)

    def default_applied(self, obj: Object) -> None:
        self._fill(obj, drop_nulls=False)

    def _fill(self, obj: Object, *, drop_nulls: bool = True) -> None:
        kept = {name: obj[name] for name in ("metadata",) if name in obj}
        defaulting.fill(self.root, obj, drop_nulls=drop_nulls)
        obj.update(kept)

    def prepare_for_create(self, obj: Object) -> None:
        """The status is dropped; a schema may give it one, which upstream fills in when it reads what was stored."""
        if self.has_status:
            obj.pop("status", None)
            status = self.root.properties.get("status")
            if status is not None and status.has_default:
                self._fill(obj)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """Nothing but the status changes, and who has changed it."""
        written, status = new["metadata"], new.get("status")
        kept = {**old["metadata"], "resourceVersion": written.get("resourceVersion")}
        kept.pop("managedFields", None)
        if managed := written.get("managedFields"):
            kept["managedFields"] = managed
        had = "status" in new
        new.clear()
        new.update(old)
        new["metadata"] = kept
        if had:
            new["status"] = status
        else:
            new.pop("status", None)

    def desired_changed(self, new: Object, old: Object) -> bool:
        return {**new, "metadata": None} != {**old, "metadata": None}

    def validate(self, obj: Object) -> list[FieldError]:
        causes = metadata.validate(obj, names.dns1123_subdomain, any_finalizer=True)
        causes += values.check(self.root, obj)
        causes += self._check_scale(obj)
        causes += lists.embedded(self.root, obj)
        causes += lists.duplicates(self.root, obj)
        return causes + self._check_rules(causes, obj, rules.ABSENT)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        causes = metadata.validate_update(new, old, any_finalizer=True)
        causes += values.check(self.root, new, old)
        causes += self._check_scale(new)
        causes += lists.embedded(self.root, new)
        if self.root.deep_lists and not lists.duplicates(self.root, old):
            causes += lists.duplicates(self.root, new)
        return causes + self._check_rules(causes, new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        causes = metadata.validate_update(new, old, any_finalizer=True)
        status = self.root.properties.get("status")
        if status is not None and "status" in new:
            causes += values.check(status, new["status"], old.get("status", values.ABSENT), "status")
        causes += self._check_scale(new, of_spec=False)
        if self.root.deep_lists and not lists.duplicates(self.root, old):
            causes += lists.duplicates(self.root, new)
        return causes + self._check_rules(causes, new, old)

    def _check_rules(self, causes: list[FieldError], new: Object, old: Any) -> list[FieldError]:
        if self._rules is None:
            return []
        if any(cause.reason in _BLOCKING for cause in causes):
            return [_UNCHECKED]
        place = self._rules
        try:
            return rules.check(place, new, old, patience=_PATIENCE)
        except rules.Impatient:
            raise TakesLong(lambda: [*causes, *rules.check(place, new, old)]) from None

    def _check_scale(self, obj: Object, *, of_spec: bool = True) -> list[FieldError]:
        paths = self.scale_paths
        if paths is None:
            return []
        causes = []
        for path in (paths.replicas, paths.status)[0 if of_spec else 1 :]:
            found, text = paths.at(obj, path), f".{'.'.join(path)}"
            if found is None:
                continue
            if not isinstance(found, int) or isinstance(found, bool):
                kind = {str: "string", float: "float64", bool: "bool", list: "[]interface {}"}.get(
                    type(found), "object"
                )
                why = f"{text} accessor error: {found} is of the type {kind}, expected int64"
                causes.append(invalid(text, 0, why))
            elif found < 0:
                causes.append(invalid(text, found, "should be a non-negative integer"))
            elif found > _MAX_INT32:
                causes.append(invalid(text, found, f"should be less than or equal to {_MAX_INT32}"))
        return causes

    def warnings(self, obj: Object) -> list[str]:
        found = []
        for name in obj["metadata"].get("finalizers") or ():
            if "/" not in name and name not in _STANDARD_FINALIZERS:
                better = "a domain-qualified finalizer name"
                better += " including a path (/)" if "." in name else ""
                found.append(
                    f'metadata.finalizers: "{name}": prefer {better} to avoid accidental conflicts with other '
                    "finalizer writers"
                )
        return found

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {name: _text(jsonpath.first(path, obj)) for name, path in self._selectable.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
