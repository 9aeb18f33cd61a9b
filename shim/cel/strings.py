"""Functions on texts and lists: CEL's extensions ``strings`` (version 2), ``lists``, ``sets``, ``regex``."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from shim.cel.formatting import formatted
from shim.cel.functions import Library, matching, traversal
from shim.cel.macros import SORT_BY_KEYS
from shim.cel.patterns import PatternError, pattern
from shim.cel.values import CelError, Duration, UInt, checked_int, compare, equal

LIBRARY = Library()
_function, _method, _add = LIBRARY.function, LIBRARY.method, LIBRARY.add


# --- strings ----------------------------------------------------------------------------------------------------------


@_method("charAt", "string, int -> string")
def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise CelError(f"index out of range: {index}")
    return text[index : index + 1]


@_method("indexOf", "string, string -> int", cost=traversal(0))
def _index_of(text: str, part: str) -> int:
    return text.find(part)


@_method("indexOf", "string, string, int -> int", cost=traversal(0))
def _index_from(text: str, part: str, offset: int) -> int:
    if part and offset < 0:
        raise CelError(f"index out of range: {offset}")
    return text.find(part, offset) if part else offset  # an empty text is wherever it is looked for


@_method("lastIndexOf", "string, string -> int", cost=traversal(0))
def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


@_method("lastIndexOf", "string, string, int -> int", cost=traversal(0))
def _last_index_from(text: str, part: str, offset: int) -> int:
    if not part:
        return offset
    if offset < 0:
        raise CelError(f"index out of range: {offset}")
    return text.rfind(part, 0, offset + len(part)) if offset < len(text) else -1


@_method("substring", "string, int -> string", cost=traversal(0))
def _substring(text: str, start: int) -> str:
    _in_range(text, start)
    return text[start:]


@_method("substring", "string, int, int -> string", cost=traversal(0))
def _substring_range(text: str, start: int, end: int) -> str:
    if start > end:
        raise CelError(f"invalid substring range. start: {start}, end: {end}")
    _in_range(text, start)
    _in_range(text, end)
    return text[start:end]


def _in_range(text: str, index: int) -> None:
    if not 0 <= index <= len(text):
        raise CelError(f"index out of range: {index}")


def _ascii(text: str, start: str, shift: int) -> str:
    last = chr(ord(start) + 25)
    return "".join(chr(ord(char) + shift) if start <= char <= last else char for char in text)


_add("lowerAscii", "string -> string", lambda text: _ascii(text, "A", 32), member=True, cost=traversal(0))
_add("upperAscii", "string -> string", lambda text: _ascii(text, "a", -32), member=True, cost=traversal(0))
_add("trim", "string -> string", str.strip, member=True, cost=traversal(0))
_add("replace", "string, string, string -> string", str.replace, member=True, cost=traversal(0, times=2))
_add("replace", "string, string, string, int -> string", str.replace, member=True, cost=traversal(0, times=2))
_SPECIAL = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


@_function("strings.quote", "string -> string", cost=traversal(0))
def _quote(text: str) -> str:
    return '"' + "".join(_SPECIAL.get(char, char) for char in text) + '"'


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    parts = list(text) if not separator else text.split(separator)
    if 0 < limit < len(parts):
        parts = [*parts[: limit - 1], separator.join(parts[limit - 1 :])]
    return parts


_add("split", "string, string -> list(string)", _split, member=True, cost=traversal(0, times=2))
_add("split", "string, string, int -> list(string)", _split, member=True, cost=traversal(0, times=2))


def _join(items: list[str], separator: str = "") -> str:
    return separator.join(items)


def _of_result(sizes: Any, result: float) -> float:
    return traversal(0, times=2)([result], 0)


_add("join", "list(string) -> string", _join, member=True, cost=_of_result)
_add("join", "list(string), string -> string", _join, member=True, cost=_of_result)


_add("format", "string, list(dyn) -> string", formatted, member=True, cost=traversal(0))


# --- regex ------------------------------------------------------------------------------------------------------------


def _compiled(expression: str) -> Any:
    try:
        return pattern(expression)
    except PatternError as error:
        raise CelError(f"Illegal regex: {error}") from None


@_method("find", "string, string -> string", cost=matching)
def _find(text: str, expression: str) -> str:
    found = _compiled(expression).search(text)
    return str(found[0]) if found else ""


@_method("findAll", "string, string -> list(string)", cost=matching)
@_method("findAll", "string, string, int -> list(string)", cost=matching)
def _find_all(text: str, expression: str, limit: int = -1) -> list[str]:
    found = [str(match[0]) for match in _compiled(expression).finditer(text)]
    return found if limit < 0 else found[:limit]


# --- lists and sets ---------------------------------------------------------------------------------------------------


def _over_items(sizes: Any, result: float) -> float:
    return float(sizes[0])


@functools.cmp_to_key
def _key(left: Any, right: Any) -> int:
    return compare(left, right)


def _extreme(items: list[Any], pick: Any, name: str) -> Any:
    if not items:
        raise CelError(f"{name} called on empty list")
    return pick(items, key=_key)


def _sum(items: list[Any], zero: Any) -> Any:
    total = zero
    for item in items:
        total = type(zero)(total.nanos + item.nanos) if isinstance(zero, Duration) else total + item
    return checked_int(total) if total.__class__ is int else total


for _kind in ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"):
    _add("isSorted", f"list({_kind}) -> bool", lambda items: items == sorted(items, key=_key), member=True,
         cost=_over_items)  # fmt: skip
    _add("max", f"list({_kind}) -> {_kind}", lambda items: _extreme(items, max, "max"), member=True, cost=_over_items)
    _add("min", f"list({_kind}) -> {_kind}", lambda items: _extreme(items, min, "min"), member=True, cost=_over_items)
for _kind, _zero in (("int", 0), ("uint", UInt(0)), ("double", 0.0), ("duration", Duration(0))):
    _add("sum", f"list({_kind}) -> {_kind}", lambda items, zero=_zero: _sum(items, zero), member=True,
         cost=_over_items)  # fmt: skip


@_method("indexOf", "list(A), A -> int", cost=_over_items)
def _index_in(items: list[Any], wanted: Any) -> int:
    return next((index for index, item in enumerate(items) if equal(item, wanted)), -1)


@_method("lastIndexOf", "list(A), A -> int", cost=_over_items)
def _last_index_in(items: list[Any], wanted: Any) -> int:
    return next((index for index in range(len(items) - 1, -1, -1) if equal(items[index], wanted)), -1)


def _product(sizes: Any, result: float) -> float:
    return float(sizes[0]) * float(sizes[1])


def _contains(items: list[Any], wanted: Iterable[Any]) -> bool:
    return all(any(equal(item, each) for item in items) for each in wanted)


_add("sets.contains", "list(A), list(A) -> bool", _contains, cost=_product)
_add("sets.equivalent", "list(A), list(A) -> bool", lambda a, b: _contains(a, b) and _contains(b, a),
     cost=lambda sizes, result: 2 * _product(sizes, 0))  # fmt: skip
_add("sets.intersects", "list(A), list(A) -> bool", lambda a, b: any(equal(x, y) for x in a for y in b), cost=_product)


@_method("distinct", "list(A) -> list(A)", cost=lambda sizes, result: sizes[0] ** 2)
def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not any(equal(item, known) for known in found):
            found.append(item)
    return found


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise CelError("level must be non-negative")
    found: list[Any] = []
    for item in items:
        found += _flatten(item, depth - 1) if isinstance(item, list) and depth > 0 else [item]
    return found


_add("flatten", "list(list(A)) -> list(A)", _flatten, member=True, cost=_over_items)
_add("flatten", "list(dyn), int -> list(dyn)", _flatten, member=True, cost=_over_items)
_add("reverse", "list(A) -> list(A)", lambda items: list(items[::-1]), member=True, cost=_over_items)


@_method("slice", "list(A), int, int -> list(A)", cost=lambda sizes, result: result)
def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(items):
        raise CelError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return list(items[start:end])


@_function("lists.range", "int -> list(int)", cost=lambda sizes, result: result)
def _range(end: int) -> list[int]:
    if end > 1_000_000:
        raise CelError(f"lists.range({end}) is too long")
    return list(range(end))


def _by_keys(items: list[Any], keys: list[Any]) -> list[Any]:
    return [item for _, item in sorted(zip(keys, items, strict=True), key=lambda pair: _key(pair[0]))]


for _kind in ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"):
    _add("sort", f"list({_kind}) -> list({_kind})", lambda items: sorted(items, key=_key), member=True,
         cost=lambda sizes, result: sizes[0] ** 2)  # fmt: skip
    _add(SORT_BY_KEYS, f"list(A), list({_kind}) -> list(A)", _by_keys, member=True,
         cost=lambda sizes, result: sizes[0] ** 2)  # fmt: skip
