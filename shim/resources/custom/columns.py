"""``additionalPrinterColumns``: cells read by JSON paths, in the types columns can have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shim.api import jsonpath
from shim.api.meta import Object
from shim.resources.columns.common import NAME, doc, since
from shim.resources.strategy import Column

_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def columns(wanted: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The name, then what the definition asks for, or else the age."""
    return (
        NAME,
        *map(_column, list(wanted) or [{**_AGE, "description": doc("meta.v1.ObjectMeta", "creationTimestamp")}]),
    )


def _column(raw: Mapping[str, Any]) -> Column:
    type, text = raw["type"], raw.get("jsonPath") or ""
    about = raw.get("description") or f"Custom resource definition column (in JSONPath format): {text}"
    try:
        path = jsonpath.parse(text)
    except jsonpath.PathError:
        path = None

    def cell(obj: Object) -> Any:
        value = jsonpath.first(path, obj) if path is not None else None
        return None if value is None else _shown(type, value)

    return Column(raw["name"], type, about, cell, raw.get("format") or "", raw.get("priority") or 0)


def _shown(type: str, value: Any) -> Any:
    if type == "string":
        if isinstance(value, str):
            return value
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if type == "integer":
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if type == "number":
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if type == "boolean":
        return value if isinstance(value, bool) else None
    if not isinstance(value, str):
        return None
    try:
        return since(value)
    except ValueError:
        return "<invalid>"
