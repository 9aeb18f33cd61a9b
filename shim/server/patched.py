"""What a patch leaves is decoded as a body is, and refused in the words of the way it was patched.

A JSON or merge patch is said of the document it left, which is quoted as Go prints it; a strategic merge of the patch
itself, for there never was a document.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shim.api import conversion, decoding
from shim.api.gotext import go_text
from shim.api.meta import Object
from shim.api.schema import Definition, Type
from shim.api.status import ApiError, FieldError, invalid
from shim.server.bodies import check_kind, definition_of, typed
from shim.server.options import WriteOptions
from shim.server.parts import Call

Touched = Mapping[str, Any]
"""The objects a patch looked into, by their keys; upstream prints those sorted, and leaves the others as they are."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch that can be read: what it makes of an object, and how it is quoted if that is no object of the kind."""

    apply: Callable[[Object], Any]
    strategic: Object | None = None  # the patch, if it is one of these
    touched: Touched = field(default_factory=dict)
    complaints: tuple[str, ...] = ()  # about itself: keys that stand in it twice


def decode(call: Call, patch: Patch, old: Object, kind: str, api_version: str, options: WriteOptions) -> Object:
    """The patched object. Raises 422, which is what upstream says of a patch that makes no object."""
    patched = patch.apply(old)
    definition = definition_of(call.parts.schema, kind, api_version)
    if definition is None:
        return typed(patched, patched, kind, api_version)
    problem: str | None = None
    if patch.strategic is not None:  # merged into an object of its kind, whatever the patch says it is
        patched |= {"kind": kind, "apiVersion": api_version}
        problem = conversion.convert(definition, patched)
    else:
        try:
            check_kind(call.parts.schema, patched, kind, api_version)
        except ApiError as error:
            problem = error.message.partition(": ")[2] or error.message
    unknown: list[str] = []
    obj: Object = {}
    if problem is None:
        obj, unknown, problem = decoding.decode(definition, patched, call.odd)
    complaints = [*patch.complaints, *(f'unknown field "{path}"' for path in sorted(unknown))]
    if complaints and options.validation == "Strict" and problem is None:
        problem = f"strict decoding error: {', '.join(complaints)}"
    if problem is not None:
        text = json.dumps(_quoted(patch, definition, patched), ensure_ascii=False)
        raise invalid("", "", "", [FieldError("FieldValueInvalid", "patch", f"Invalid value: {text}: {problem}")])
    if options.validation == "Warn":
        call.warnings += complaints
    return typed(obj, patched, kind, api_version)


def touched_by_merge(patch: Any) -> Touched:
    """The objects a merge patch looks into."""
    return {key: touched_by_merge(value) for key, value in patch.items()} if isinstance(patch, dict) else {}


def touched_by_operations(operations: Iterable[Mapping[str, Any]]) -> Touched:
    """The objects a JSON patch looks into: all above the values it names."""
    touched: dict[str, Any] = {}
    for operation in operations:
        for name in ("path", "from"):
            at = touched
            for step in str(operation.get(name) or "").split("/")[1:-1]:
                at = at.setdefault(step.replace("~1", "/").replace("~0", "~"), {})
    return touched


def _quoted(patch: Patch, definition: Definition, patched: Object) -> str:
    if patch.strategic is not None:
        return go_text(patch.strategic)
    ordered = _ordered(definition.type, patched, patch.touched, True)
    return json.dumps(ordered, separators=(",", ":"), ensure_ascii=False)


def _ordered(type: Type | None, value: Any, touched: Touched, sorts: bool) -> Any:
    """With keys in the order Go has them: sorted where the patch looked in, else that of the struct."""
    if isinstance(value, list):
        element = type.element if type else None
        return [
            _ordered(element, item, touched.get(str(index), {}), str(index) in touched)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    fields = type.definition.fields if type and type.definition else {}
    known = [name for name in fields if name in value]
    names = sorted(value) if sorts or not fields else [*known, *(name for name in value if name not in fields)]
    ordered = {}
    for name in names:
        inner = fields[name].type if name in fields else type.element if type and type.kind == "map" else None
        ordered[name] = _ordered(inner, value[name], touched.get(name, {}), name in touched)
    return ordered
