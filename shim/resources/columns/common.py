"""Columns that many kinds share, and the words cells are written in."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shim.api import selectors
from shim.api.meta import Object, parse_time
from shim.resources.strategy import Column

Cell = Callable[[Object], Any]
NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"


def doc(definition: str, field: str) -> str:
    """A description that stands in the API's schema already: ``doc("core.v1.PodSpec", "nodeName")``."""
    prefix = "io.k8s.apimachinery.pkg.apis" if definition.startswith("meta.") else "io.k8s.api"
    return f"#{prefix}.{definition}/{field}"


def description(column: Column, definitions: Mapping[str, Mapping[str, Any]]) -> str:
    """What a column says of itself, looked up in the schema's definitions where :func:`doc` points there."""
    text = column.description
    if not text.startswith("#"):
        return text
    definition, _, field = text[1:].partition("/")
    properties = definitions.get(definition, {}).get("properties") or {}
    return str((properties.get(field) or {}).get("description") or "")


def dig(obj: Object, path: str) -> Any:
    """The value at a dotted path, or None."""
    value: Any = obj
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def at(path: str, missing: Any = "") -> Cell:
    """A cell that shows the value at a dotted path."""
    parts = tuple(path.split("."))

    def cell(obj: Object) -> Any:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
            if value is None:
                return missing
        return value

    return cell


def number(path: str) -> Cell:
    return at(path, 0)


def count(path: str) -> Cell:
    """A cell that shows how many there are."""
    return lambda obj: len(dig(obj, path) or ())


def flag(path: str, missing: bool = False) -> Cell:
    return at(path, missing)


def human(seconds: float) -> str:
    """A duration in two or three figures: 59s, 5m30s, 3h5m, 47h, 3d, 2y10d."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return f"{days // 365}y{days % 365}d" if days % 365 else f"{days // 365}y"
    return f"{days // 365}y"


def since(time: str | None) -> str:
    """How long ago a time was."""
    if not time:
        return UNKNOWN
    return human((datetime.datetime.now(datetime.UTC) - parse_time(time)).total_seconds())


def seconds_between(start: str, end: str) -> float:
    return (parse_time(end) - parse_time(start)).total_seconds()


def labels(found: Mapping[str, str] | None) -> str:
    """A map of labels as text."""
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) if found else NONE


def selector(found: Mapping[str, Any] | None) -> str:
    """A ``metav1.LabelSelector`` as text."""
    if not found:
        return NONE
    try:
        return str(selectors.from_object(found)) or NONE
    except selectors.SelectorError:
        return "<error>"


def first_few(texts: Iterable[str], most: int = 3, empty: str = UNSET) -> str:
    """``a,b,c + 2 more...``."""
    found = list(texts)
    shown = ",".join(found[:most])
    if len(found) > most:
        return f"{shown} + {len(found) - most} more..."
    return shown or empty


def containers(path: str, what: str) -> Cell:
    """The names or the images of a template's containers."""
    return lambda obj: ",".join(each.get(what) or "" for each in dig(obj, path) or ())


NAME = Column("Name", "string", doc("meta.v1.ObjectMeta", "name"), lambda obj: obj["metadata"].get("name"), "name")
AGE = Column(
    "Age",
    "string",
    doc("meta.v1.ObjectMeta", "creationTimestamp"),
    lambda obj: since(obj["metadata"].get("creationTimestamp")),
)
CREATED_AT = Column(
    "Created At",
    "date",
    doc("meta.v1.ObjectMeta", "creationTimestamp"),
    lambda obj: obj["metadata"].get("creationTimestamp") or "0001-01-01T00:00:00Z",
)
DEFAULT = (NAME, CREATED_AT)
"""What is shown of a kind that has no columns of its own."""
NAME_AND_AGE = (NAME, AGE)


def template_columns(path: str) -> tuple[Column, Column]:
    """The wide columns of a kind with a pod template at ``path``."""
    found = f"{path}.spec.containers"
    return (
        wide("Containers", "Names of each container in the template.", containers(found, "name")),
        wide("Images", "Images referenced by each container in the template.", containers(found, "image")),
    )


def text(name: str, about: str, cell: Cell) -> Column:
    return Column(name, "string", about, cell)


def integer(name: str, about: str, cell: Cell) -> Column:
    return Column(name, "integer", about, cell)


def boolean(name: str, about: str, cell: Cell) -> Column:
    return Column(name, "boolean", about, cell)


def wide(name: str, about: str, cell: Cell) -> Column:
    return Column(name, "string", about, cell, priority=1)
