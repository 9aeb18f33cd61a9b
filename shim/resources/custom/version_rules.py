"""What may one version of a CustomResourceDefinition have? Its schema, subresources, columns and selectable fields."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import duplicate, invalid, required, too_many
from shim.resources.custom.fieldpath import PathProblem, resolve
from shim.resources.custom.schema_rules import SchemaCheck
from shim.resources.custom.structure import Node, Raw

_MAX_SELECTABLE = 8
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")


def check_deprecation(version: Object, path: str) -> list[FieldError]:
    """What is told of a version that should not be used any more."""
    text = version.get("deprecationWarning")
    if text is None:
        return []
    field = f"{path}.deprecationWarning"
    if not version.get("deprecated"):
        return [invalid(field, text, "can only be set for deprecated versions")]
    problems = []
    if len(text.encode()) > 256:
        problems.append("must be <= 256 characters long")
    if not text:
        problems.append("must not be an empty string")
    if (index := next((index for index, char in enumerate(text) if not char.isprintable()), None)) is not None:
        at = len(text[:index].encode())
        problems.append(f"must only contain printable UTF-8 characters; non-printable character found at index {at}")
    return [invalid(field, text, why) for why in problems]


def check_schema(schema: Object, path: str, has_status: bool, unchanged: bool) -> list[FieldError]:
    """``unchanged``: the version had this schema before."""
    raw = schema.get("openAPIV3Schema")
    if raw is None:
        return []
    return SchemaCheck(f"{path}.openAPIV3Schema", raw, has_status=has_status, unchanged=unchanged).causes()


def check_subresources(subresources: Object | None, path: str) -> list[FieldError]:
    """The paths of ``scale``, which lead into spec and status."""
    scale = (subresources or {}).get("scale")
    if not scale:
        return []
    causes: list[FieldError] = []
    for field, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        text, at = scale.get(field) or "", f"{path}.scale.{field}"
        if not text:
            causes.append(required(at))
        elif problems := _simple_path(at, text):
            causes += problems
        elif not text.startswith(prefix):
            causes.append(invalid(at, text, f"should be a json path under {prefix[:-1]}"))
    text, at = scale.get("labelSelectorPath") or "", f"{path}.scale.labelSelectorPath"
    if text and not (problems := _simple_path(at, text)):
        if not text.startswith((".spec.", ".status.")):
            causes.append(invalid(at, text, "should be a json path under either .spec or .status"))
    elif text:
        causes += problems
    return causes


def _simple_path(at: str, text: str) -> list[FieldError]:
    return [] if text.startswith(".") else [invalid(at, text, "must be a simple json path starting with .")]


def check_columns(columns: Any, path: str) -> list[FieldError]:
    """What tables show beside the name."""
    causes: list[FieldError] = []
    for index, column in enumerate(columns):
        at = f"{path}[{index}]"
        if not column.get("name"):
            causes.append(required(f"{at}.name"))
        type, format = column.get("type") or "", column.get("format") or ""
        text = f"must be one of {','.join(_COLUMN_TYPES)}"
        if not type:
            causes.append(required(f"{at}.type", text))
        elif type not in _COLUMN_TYPES:
            causes.append(invalid(f"{at}.type", type, text))
        if format and format not in _COLUMN_FORMATS:
            causes.append(invalid(f"{at}.format", format, f"must be one of {','.join(_COLUMN_FORMATS)}"))
        if not column.get("jsonPath"):
            causes.append(required(f"{at}.JSONPath"))
        else:
            causes += _simple_path(f"{at}.JSONPath", column["jsonPath"])
    return causes


def check_selectable(fields: Any, raw: Raw, path: str) -> list[FieldError]:
    """Fields of a simple type, each once."""
    root = Node(raw)
    causes: list[FieldError] = []
    seen = set()
    for index, field in enumerate(fields):
        at, text = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not text:
            causes.append(required(at))
            continue
        try:
            found = resolve(text, root, brackets=False)
        except PathProblem as problem:
            causes.append(invalid(at, text, f"is an invalid path: {problem}"))
            continue
        if found.keys[:1] == ("metadata",):
            causes.append(invalid(at, text, "must not point to fields in metadata"))
        if found.node.type not in ("string", "boolean", "integer"):
            why = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            causes.append(invalid(at, text, why))
        if found.text in seen:
            causes.append(duplicate(at, text))
        seen.add(found.text)
    if len(seen) > _MAX_SELECTABLE:
        causes.append(too_many(path, len(seen), _MAX_SELECTABLE))
    return causes
