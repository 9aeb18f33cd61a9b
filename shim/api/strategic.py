"""What does a strategic merge patch make of an object? A merge patch that knows which lists are keyed, and by what.

The schema says how a list merges (``x-kubernetes-patch-strategy``, ``-merge-key``); directives in the patch say
the rest: ``$patch: replace|delete|merge``, ``$setElementOrder/list``, ``$deleteFromPrimitiveList/list``,
``$retainKeys``. Nothing that is given is changed; what the patch does not touch is shared with the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from shim.api.gotext import go_text
from shim.api.jsonpatch import PatchError
from shim.api.meta import Object
from shim.api.schema import Definition, Type

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"

BAD_PRIMITIVE_LIST = "invalid patch format of primitive list"
BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
BAD_ORDER = "invalid patch format of setElementOrder list"


class _Rules(NamedTuple):
    """How one field merges; ``type`` is that of its value, None where no schema is known."""

    type: Type | None
    strategies: tuple[str, ...] = ()
    key: str = ""

    @property
    def element(self) -> Type | None:
        return self.type.element if self.type and self.type.kind == "list" else None


def merge(definition: Definition | None, original: Object, patch: Object) -> Object:
    """The patched object. Raises PatchError: 400 for a malformed patch, 422 and 500 as upstream answers the rest."""
    return _merge_map(definition.type if definition else None, original, patch)


def _rules(type: Type | None, field: str) -> _Rules:
    if type is None:
        return _Rules(None)
    if type.kind == "struct" and type.definition is not None:
        found = type.definition.fields.get(field)
        return _Rules(found.type, found.patch_strategies, found.merge_key) if found else _Rules(None)
    return _Rules(type.element if type.kind == "map" else None)


def _merge_map(type: Type | None, original: Object, patch: Object) -> Object:
    if _PATCH in patch:
        directive = patch[_PATCH]
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != _PATCH}
        if directive == "delete":
            return {}
        raise PatchError(500, f"unknown patch type: {directive} in map: {go_text(patch)}")

    merged, patch = _retain(dict(original), dict(patch))
    for name in [name for name in patch if name.startswith(_ORDER)]:
        _order(type, merged, patch, name.removeprefix(_ORDER), patch.pop(name))
    for name, value in patch.items():
        field = name.removeprefix(_DELETE)
        deleting = field != name
        if value is None:
            merged.pop(field, None)
            continue
        current: Any = merged.get(field)
        if field not in merged or not _alike(current, value):
            if not deleting:
                _set(merged, field, value)
            continue
        rules = _rules(type, field)
        if isinstance(value, dict):
            merged[field] = value if "replace" in rules.strategies else _merge_map(rules.type, current, value)
        elif isinstance(value, list):
            if deleting or "merge" in rules.strategies:
                merged[field] = _merge_list(rules, current, value, deleting)
            else:
                merged[field] = value
        else:
            merged[field] = value
    return merged


def _set(target: Object, field: str, value: Any) -> None:
    """A value where there was none: without the directives and nulls in it."""
    cleaned, kept = _clean(value, nulls=True)
    if kept:
        target[field] = cleaned
    else:
        target.pop(field, None)


def _clean(value: Any, *, nulls: bool) -> tuple[Any, bool]:
    """A patch's value without directives, and without nulls where ``nulls``; and whether anything of it is kept."""
    if isinstance(value, dict):
        if _PATCH in value:
            return None, False
        cleaned = {}
        for key, item in value.items():
            if nulls and item is None:
                continue
            new, kept = _clean(item, nulls=nulls)
            if kept:
                cleaned[key] = new
        return cleaned, True
    if isinstance(value, list):
        return [new for new, kept in (_clean(item, nulls=nulls) for item in value) if kept], True
    return value, True


def _alike(left: Any, right: Any) -> bool:
    return type(left) is type(right)


def _retain(original: Object, patch: Object) -> tuple[Object, Object]:
    """``$retainKeys``: of what is there, only these keys stay."""
    if _RETAIN not in patch:
        return original, patch
    keys = patch.pop(_RETAIN)
    if not isinstance(keys, list):
        raise PatchError(400, BAD_RETAIN_KEYS)
    for name, value in patch.items():
        if value is not None and not name.startswith((_DELETE, _ORDER)) and name not in keys:
            raise PatchError(400, BAD_RETAIN_KEYS)
    return {name: value for name, value in original.items() if name in keys}, patch


# --- lists -----------------------------------------------------------------------------------------------------------


def _merge_list(rules: _Rules, original: list[Any], patch: list[Any], deleting: bool) -> list[Any]:
    if not original and not patch:
        return original
    if not _of_maps(original, patch):
        if deleting:
            return [item for item in original if item not in patch]
        return _ordered(_distinct([*original, *patch]), patch, original, "")
    if not rules.key:
        name = rules.element.go.rpartition(".")[2] if rules.element else ""
        raise PatchError(500, f"cannot merge lists without merge key for {name}")
    original, patch = _special(original, patch, rules.key)
    merged = list(original)
    for item in patch:
        index = _find(merged, rules.key, _key(item, rules.key))
        if index is None:
            merged.append(item)
        else:
            merged[index] = _merge_map(rules.element, merged[index], item)
    return _ordered(merged, patch, original, rules.key)


def _of_maps(*lists: Sequence[Any]) -> bool:
    kinds = {type(item) for items in lists for item in items}
    if len(kinds) > 1 and kinds - {int, float}:
        raise PatchError(500, f"list element types are not identical: {go_text(list(lists))}")
    if list in kinds:
        raise PatchError(422, "lists of lists are not supported")
    return dict in kinds


def _special(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Elements that are directives: carry them out, and return what is left to merge."""
    plain, replace = [], False
    for item in patch:
        if _PATCH not in item:
            plain.append(item)
            continue
        directive = item[_PATCH]
        if directive == "delete":
            gone = _key(item, key)
            original = [other for other in original if not (key in other and other[key] == gone)]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise PatchError(500, "merging lists cannot yet be specified in the patch")
        else:
            raise PatchError(500, f"unknown patch type: {directive} in map: {go_text(item)}")
    return (plain, []) if replace else (original, plain)


def _order(type: Type | None, merged: Object, patch: Object, field: str, order: Any) -> None:
    """``$setElementOrder``: merge the list as usual, then put it in this order; what it does not name stays near."""
    if not isinstance(order, list):
        raise PatchError(500, f"expected a []interface {{}}, but received a {_go_type(order)}")
    original, items = merged.get(field), patch.get(field)
    for found in (original, items):
        if found is not None and not isinstance(found, list):
            raise PatchError(500, f"expected a []interface {{}}, but received a {_go_type(found)}")
    rules = _rules(type, field)
    if items is not None:
        _check_order(items, order, rules.key)
    if original is None and items is None:
        return
    if items is None:
        result = original
    elif original is None:
        result, _ = _clean(items, nulls=False)
    elif "merge" in rules.strategies:
        result = _merge_list(rules, original, items, False)
    else:
        result = items
    patch.pop(field, None)
    merged[field] = _ordered(result or [], order, original or [], rules.key)


def _check_order(items: list[Any], order: list[Any], key: str) -> None:
    """The patch's elements must come in the order it asks for."""
    if not items or not order:
        return
    wanted = [_key(item, key) if key else item for item in order]
    position = 0
    for item in items:
        if isinstance(item, dict) and _PATCH in item:
            continue
        value = _key(item, key) if key else item
        while position < len(wanted) and wanted[position] != value:
            position += 1
        if position == len(wanted):
            text = (
                f"The order in patch list:\n{go_text(items)}\n doesn't match $setElementOrder list:\n{go_text(order)}\n"
            )
            raise PatchError(500, text)
        position += 1


def _ordered(merged: list[Any], first: list[Any], server: list[Any], key: str) -> list[Any]:
    """``merged`` with the elements named by ``first`` in its order, and the others where ``server`` had them."""

    def position(among: list[Any], item: Any) -> int:
        if key:
            found = _find(among, key, _key(item, key))
            return -1 if found is None else found
        return among.index(item) if item in among else -1

    named = sorted((item for item in merged if position(first, item) >= 0), key=lambda item: position(first, item))
    others = sorted((item for item in merged if position(first, item) < 0), key=lambda item: position(server, item))
    result: list[Any] = []
    while named and others:
        left, right = position(server, others[0]), position(server, named[0])
        result.append(others.pop(0) if 0 <= left < right else named.pop(0))
    return result + named + others


def _find(items: Sequence[Any], key: str, value: Any) -> int | None:
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise PatchError(500, f"value for key {index} is not a map")
        if key in item and item[key] == value:
            return index
    return None


def _key(item: Any, key: str) -> Any:
    if not isinstance(item, dict):
        raise PatchError(500, f"expected a map[string]interface {{}}, but received a {_go_type(item)}")
    if key not in item:
        raise PatchError(500, f"map: {go_text(item)} does not contain declared merge key: {key}")
    return item[key]


def _distinct(items: list[Any]) -> list[Any]:
    """Without repetitions. Upstream fills a gap with the last element, and clients see that order."""
    items = list(items)
    at = 0
    while at < len(items):
        other = at + 1
        while other < len(items):
            if items[other] == items[at]:
                last = items.pop()
                if other < len(items):
                    items[other] = last
            else:
                other += 1
        at += 1
    return items


def _go_type(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "int64", float: "float64", list: "[]interface {}"}
    return names.get(type(value), "map[string]interface {}" if isinstance(value, dict) else "%!s(<nil>)")
