"""Objects taken apart by their schema: what owns what, and which fields are there.

This is the ground of server-side apply (structured-merge-diff's arithmetic). A struct or a map is owned field by
field, a list by its keys or values, unless the schema says that it is atomic: then it is owned, compared and replaced
as one. Whether a value fits its schema is in :mod:`shim.api.structured_check`, what differs, what two make together
and what is left in :mod:`shim.api.structured_merge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shim.api import fieldset
from shim.api.fieldset import FieldSet, Path
from shim.api.schema import Type

ABSENT: Any = object()
"""Stands for a value that is not there; None is a null that is."""

ATOMIC = Type("any", "interface {}")
DEDUCED = Type("deduced", "interface {}")
"""Of values without a schema: maps are owned by field, lists as one."""

_KEY_DEFAULTS = {
    ("ContainerPort", "protocol"): "TCP",
    ("ServicePort", "protocol"): "TCP",
    ("LocalObjectReference", "name"): "",
}
"""Upstream's defaults for fields that are keys of lists: its OpenAPI v2, which is what we have, leaves them out."""
_ZEROS = {"string": "", "int32": 0, "int64": 0, "bool": False}


class InvalidValue(ValueError):
    """A value that does not fit its schema; the text has its path."""


def is_map(type: Type, value: Any) -> bool:
    """Whether this value is owned field by field."""
    if type.atomic or not (value is None or isinstance(value, dict)):
        return False
    return type.kind in ("struct", "map", "FieldsV1") or (type.kind == "deduced" and value is not None)


def is_list(type: Type, value: Any) -> bool:
    """Whether this value is owned item by item."""
    return type.kind == "list" and type.list_type in ("map", "set") and (value is None or isinstance(value, list))


def child(type: Type, name: str) -> Type:
    """The type of a field. A field that the schema does not know is atomic."""
    if type.kind == "struct" and type.definition is not None:
        found = type.definition.fields.get(name)
        return found.type if found else (DEDUCED if type.definition.open else ATOMIC)
    if type.kind == "map" and type.element is not None:
        return type.element
    return DEDUCED if type.kind in ("deduced", "FieldsV1") else ATOMIC


def items_type(type: Type) -> Type:
    return type.element or ATOMIC


def item_element(type: Type, item: Any) -> str:
    """What names an item of a keyed list or a set. Raises InvalidValue."""
    if type.list_type == "set":
        if isinstance(item, dict):
            raise InvalidValue("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise InvalidValue("not supported: associative list with lists as elements")
        if item is None:
            raise InvalidValue("associative list without keys has an element that's an explicit null")
        return fieldset.value(item)
    if item is None:
        raise InvalidValue("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise InvalidValue("associative list with keys may not have non-map elements")
    keys = {}
    for name in type.list_map_keys:
        if name in item:
            keys[name] = item[name]
        elif (default := _key_default(type, name)) is not None:
            keys[name] = default
    if not keys:
        shown = " ".join(f'"{name}"' for name in type.list_map_keys)
        raise InvalidValue(
            f"associative list with keys has an element that omits all key fields [{shown}] "
            "(and doesn't have default values for any key fields)"
        )
    return fieldset.key(keys)


def _key_default(type: Type, name: str) -> Any:
    definition = type.element.definition if type.element else None
    if definition is None:
        return None
    raw = (definition.raw.get("properties") or {}).get(name) or {}
    field = definition.fields.get(name)
    # a plain Go value that is always written is zero when it is missing
    zero = _ZEROS.get(field.type.kind) if field is not None and field.zero else None
    return raw.get("default", _KEY_DEFAULTS.get((definition.struct, name), zero))


def field_set(type: Type, value: Any) -> FieldSet:
    """The fields a value sets: its leaves, the items of its lists, and what is empty or a key of a map."""
    found = FieldSet()
    _collect(type, value, (), found)
    return found


def _collect(type: Type, value: Any, path: Path, found: FieldSet) -> None:
    if is_map(type, value):
        for name, item in (value or {}).items():
            below = (*path, fieldset.field(name))
            _collect(child(type, name), item, below, found)
            declared = type.definition is not None and name in type.definition.fields
            if item is None or item == {} or not declared:
                found.insert(below)
    elif is_list(type, value):
        for element, items in by_element(type, value).items():
            below = (*path, element)
            if len(items) == 1:
                _collect(items_type(type), items[0], below, found)
            found.insert(below)
    else:
        found.insert(path)


def by_element(type: Type, items: Sequence[Any] | None, *, strict: bool = False) -> dict[str, list[Any]]:
    """Items by what names them; more than one under a name are duplicates.

    Items that nothing names are left out: they were stored before their schema said so. If ``strict``, InvalidValue.
    """
    found: dict[str, list[Any]] = {}
    for item in items or ():
        try:
            found.setdefault(item_element(type, item), []).append(item)
        except InvalidValue:
            if strict:
                raise
    return found


def with_named_fields(type: Type, owned: FieldSet) -> FieldSet:
    """The set with the structs' fields that lead to its members: who owns ``spec.a`` may remove ``spec``."""
    members = set(owned.members)
    children = {}
    for element, below in owned.children.items():
        if element.startswith("f:"):
            name = element[2:]
            if type.definition is not None and name in type.definition.fields:
                members.add(element)
            children[element] = with_named_fields(child(type, name), below)
        else:
            children[element] = with_named_fields(items_type(type) if type.kind == "list" else ATOMIC, below)
    return FieldSet(members, children)
