"""Objects taken apart by their schema: which fields are there, what differs, what two make together, what is left.

This is the arithmetic of server-side apply (structured-merge-diff's). A struct or a map is owned field by field, a
list by its keys or values, unless the schema says that it is atomic: then it is owned, compared and replaced as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shim.api import fieldset
from shim.api.fieldset import FieldSet, Path
from shim.api.gotext import go_text
from shim.api.schema import Type

ABSENT: Any = object()
"""Stands for a value that is not there; None is a null that is."""

_ATOMIC = Type("any", "interface {}")
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
    return type.kind in ("struct", "map", "Raw", "FieldsV1") or (type.kind == "deduced" and value is not None)


def is_list(type: Type, value: Any) -> bool:
    """Whether this value is owned item by item."""
    return type.kind == "list" and type.list_type in ("map", "set") and (value is None or isinstance(value, list))


def child(type: Type, name: str) -> Type:
    """The type of a field. A field that the schema does not know is atomic."""
    if type.kind == "struct" and type.definition is not None:
        found = type.definition.fields.get(name)
        return found.type if found else (DEDUCED if type.definition.open else _ATOMIC)
    if type.kind == "map" and type.element is not None:
        return type.element
    return DEDUCED if type.kind in ("deduced", "FieldsV1") else _ATOMIC


def _element(type: Type) -> Type:
    return type.element or _ATOMIC


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


# --- validation ------------------------------------------------------------------------------------------------------


def check(type: Type, value: Any) -> None:
    """Raises InvalidValue with every reason why a value does not fit its schema."""
    errors: list[str] = []
    _check(type, value, (), errors)
    if errors:
        raise InvalidValue(errors[0] if len(errors) == 1 else "errors:\n  " + "\n  ".join(errors))


_SCALAR_NAMES = {
    "string": ("string", (str,)),
    "bytes": ("string", (str,)),
    "Time": ("string", (str,)),
    "MicroTime": ("string", (str,)),
    "bool": ("boolean", (bool,)),
    "int32": ("numeric (int or float)", (int, float)),
    "int64": ("numeric (int or float)", (int, float)),
    "float64": ("numeric (int or float)", (int, float)),
}


def _check(type: Type, value: Any, path: Path, errors: list[str]) -> None:
    def complain(message: str) -> None:
        errors.append(f"{fieldset.show(path)}: {message}" if path else message)

    if value is None:
        return
    if type.kind in ("struct", "map"):
        if not isinstance(value, dict):
            complain(f"expected map, got {_pointed(value)}")
            return
        for name, item in value.items():
            known = type.definition is None or name in type.definition.fields or type.definition.open
            if not known:
                errors.append(f"{fieldset.show((*path, fieldset.field(name)))}: field not declared in schema")
            else:
                _check(child(type, name), item, (*path, fieldset.field(name)), errors)
    elif type.kind == "list":
        if not isinstance(value, list):
            complain(f"expected list, got {_pointed(value)}")
            return
        seen: set[str] = set()
        for index, item in enumerate(value):
            element = f"i:{index}"
            if type.list_type in ("map", "set"):
                try:
                    element = item_element(type, item)
                except InvalidValue as error:
                    complain(f"element {index}: {error}")
                    continue
                if element in seen:
                    complain(f"duplicate entries for key {fieldset.show((element,))}")
                seen.add(element)
            _check(_element(type), item, (*path, element), errors)
    elif type.kind in _SCALAR_NAMES:
        name, classes = _SCALAR_NAMES[type.kind]
        if not isinstance(value, classes) or (isinstance(value, bool) and bool not in classes):
            complain(f"expected {name}, got {_SHOWN[name](value)}")


_GO_TYPES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "int64",
    float: "float64",
    dict: "map[string]interface {}",
    list: "[]interface {}",
}


def _type_of(value: Any) -> str:
    return _GO_TYPES[type(value)]


def _pointed(value: Any) -> str:
    """As Go prints a pointer to a struct of one field."""
    return f"&{{{go_text(value)}}}"


def _in_syntax(value: Any) -> str:
    return f"&value.valueUnstructured{{Value:{_syntax(value)}}}"


def _syntax(value: Any) -> str:
    """A value as Go's source would have it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_syntax(key)}:{_syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(_syntax, value))}}}"
    if value is None:
        return "interface {}(nil)"
    return json.dumps(value)


_SHOWN: dict[str, Callable[[Any], str]] = {
    "numeric (int or float)": _type_of,
    "string": _in_syntax,
    "boolean": _pointed,
}
"""How upstream shows a value that is not of a type: differently for each."""


# --- which fields are there ------------------------------------------------------------------------------------------


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
        for element, items in _by_element(type, value).items():
            below = (*path, element)
            if len(items) == 1:
                _collect(_element(type), items[0], below, found)
            found.insert(below)
    else:
        found.insert(path)


def _by_element(type: Type, items: Sequence[Any] | None) -> dict[str, list[Any]]:
    """Items by what names them; more than one under a name are duplicates."""
    found: dict[str, list[Any]] = {}
    for item in items or ():
        try:
            found.setdefault(item_element(type, item), []).append(item)
        except InvalidValue:
            continue  # stored before its schema said so
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
            children[element] = with_named_fields(_element(type) if type.kind == "list" else _ATOMIC, below)
    return FieldSet(members, children)


# --- what differs ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Comparison:
    """How a value differs from an older one."""

    removed: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)
    added: FieldSet = field(default_factory=FieldSet)

    def __bool__(self) -> bool:
        return bool(self.removed or self.modified or self.added)

    def without(self, ignored: Iterable[str]) -> Comparison:
        """Without these fields of the object (``status``, ``metadata.labels``) and all below them."""
        comparison = self
        for name in ignored:
            path = fieldset.dotted(name)
            sets = (each.without(path) for each in (comparison.removed, comparison.modified, comparison.added))
            comparison = Comparison(*sets)
        return comparison


def compare(type: Type, old: Any, new: Any) -> Comparison:
    """What ``new`` removed, modified and added. What is equal costs no more than Python's ``==``."""
    comparison = Comparison()
    _compare(type, old, new, (), comparison)
    return comparison


def _compare(type: Type, old: Any, new: Any, path: Path, comparison: Comparison) -> None:
    if old is ABSENT:
        comparison.added.insert(path, _everything(type, new))
    elif new is ABSENT:
        comparison.removed.insert(path, _everything(type, old))
    elif _equal(old, new):
        return
    elif not (old or new) or not _alike(old, new):
        comparison.modified.insert(path)
    elif is_map(type, new if new is not None else old):
        before, after = old or {}, new or {}
        for name in {**before, **after}:
            older, newer = before.get(name, ABSENT), after.get(name, ABSENT)
            if older is not newer:
                _compare(child(type, name), older, newer, (*path, fieldset.field(name)), comparison)
    elif is_list(type, new if new is not None else old):
        _compare_items(type, old or [], new or [], path, comparison)
    else:
        comparison.modified.insert(path)


def _everything(type: Type, value: Any) -> FieldSet:
    """Every field and item below a value that came or went as a whole."""
    found = FieldSet()
    if is_map(type, value):
        for name, item in (value or {}).items():
            element = fieldset.field(name)
            found.members.add(element)
            if isinstance(item, dict | list) and (below := _everything(child(type, name), item)):
                found.children[element] = below
    elif is_list(type, value):
        for element, items in _by_element(type, value).items():
            found.members.add(element)
            if len(items) == 1 and (below := _everything(_element(type), items[0])):
                found.children[element] = below
    return found


def _compare_items(type: Type, old: Any, new: Any, path: Path, comparison: Comparison) -> None:
    before, after = _by_element(type, old), _by_element(type, new)
    for element in {**before, **after}:
        left, right = before.get(element, []), after.get(element, [])
        below = (*path, element)
        if len(left) <= 1 and len(right) <= 1:
            older, newer = left[0] if left else ABSENT, right[0] if right else ABSENT
            _compare(_element(type), older, newer, below, comparison)
        elif len(left) > 1 and len(right) > 1:
            if not _equal(left, right):
                comparison.modified.insert(below)
        elif len(left) > 1:
            comparison.removed.insert(below)
        else:
            comparison.added.insert(below)


def _alike(old: Any, new: Any) -> bool:
    return old is None or new is None or isinstance(old, dict) == isinstance(new, dict)


def _equal(old: Any, new: Any) -> bool:
    """Equality as JSON has it; Python alone would take true for 1."""
    return bool(old == new) and (isinstance(old, bool) == isinstance(new, bool) or isinstance(old, dict | list))


# --- two together, and what is left ----------------------------------------------------------------------------------


def merge(type: Type, live: Any, applied: Any) -> Any:
    """``live`` with everything that ``applied`` sets. Neither is changed; what is the same is shared."""
    if live is ABSENT or applied is ABSENT:
        return applied if live is ABSENT else live
    if is_map(type, applied) and is_map(type, live) and (live or applied):
        if applied is None:
            return live
        merged = dict(live or {})
        for name, item in applied.items():
            merged[name] = merge(child(type, name), merged.get(name, ABSENT), item)
        return merged
    if is_list(type, applied) and is_list(type, live) and (live or applied):
        return _merge_items(type, live or [], applied or [])
    return applied


def _merge_items(type: Type, live: list[Any], applied: list[Any]) -> list[Any]:
    """The order is the applied list's; what only the live one has stays between its neighbours."""
    right = _by_element(type, applied)
    left = _by_element(type, live)
    names = [item_element(type, item) for item in applied]
    shared = [name for name in names if name in left]
    merged: list[Any] = []
    done: set[str] = set()
    at = 0

    def take(name: str) -> None:
        older = left[name][0] if len(left.get(name, ())) == 1 else ABSENT
        merged.append(merge(_element(type), older, right[name][0]))
        done.add(name)

    for item in live:
        try:
            name = item_element(type, item)
        except InvalidValue:
            merged.append(item)
            continue
        if name not in right:
            merged.append(item)
            continue
        if name in done or (shared and shared[0] != name):
            continue  # it is put where the applied list has it
        while at < len(names):
            current = names[at]
            at += 1
            take(current)
            if shared and shared[0] == current:
                shared.pop(0)
            if current == name:
                break
    for name in names[at:]:
        take(name)
    return merged


def remove(type: Type, value: Any, gone: FieldSet) -> Any:
    """The value without the members of a set. None when nothing is left of it."""
    if isinstance(value, dict):
        if not is_map(type, value):
            return None
        kept: dict[str, Any] = {}
        touched = _each(
            [(fieldset.field(name), name, item) for name, item in value.items()],
            gone,
            lambda name: child(type, name),
            kept.__setitem__,
        )
        return kept if kept or touched else None
    if isinstance(value, list):
        if not is_list(type, value):
            return None
        items: list[Any] = []
        named = []
        for item in value:
            try:
                named.append((item_element(type, item), "", item))
            except InvalidValue:
                named.append(("", "", item))
        touched = _each(named, gone, lambda _: _element(type), lambda _, item: items.append(item))
        return items if items or touched else None
    return value


def _each(
    parts: list[tuple[str, str, Any]],
    gone: FieldSet,
    type_of: Callable[[str], Type],
    keep: Callable[[str, Any], None],
) -> bool:
    """Keep what is not gone; returns whether something below a part was removed."""
    touched = False
    for element, name, item in parts:
        if element in gone.members:
            continue
        below = gone.children.get(element)
        if below:
            touched = True
            rest = remove(type_of(name), item, below)
            item = type(item)() if rest is None and isinstance(item, dict | list) else rest
        keep(name, item)
    return touched
