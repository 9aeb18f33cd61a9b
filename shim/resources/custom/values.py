"""Is a value what its schema says? Types, limits, patterns, formats; every complaint in upstream's words.

On an update, what has not changed is not judged again (CRDValidationRatcheting): a schema may become stricter
without making its older objects unchangeable.
"""

from __future__ import annotations

import math
from typing import Any

from shim.api.status import FieldError
from shim.cel.patterns import pattern
from shim.resources.causes import shown, too_long, too_many
from shim.resources.custom.formats import FORMATS
from shim.resources.custom.structure import Node, key_of

ABSENT: Any = object()


def check(node: Node, value: Any, old: Any = ABSENT, path: str = "") -> list[FieldError]:
    """Every reason why ``value`` does not fit; ``old`` is what stood there before an update."""
    found: list[FieldError] = []
    _check(node, value, old, path, found)
    return found


def _cause(reason: str, path: str, text: str) -> FieldError:
    return FieldError(reason, path or "<nil>", text)


def _invalid(path: str, value: Any, text: str, reason: str = "FieldValueInvalid") -> FieldError:
    return _cause(reason, path, f"Invalid value: {shown(value)}: {path}{' in body' if path else 'in body'} {text}")


_CLASSES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}


def _types(node: Node) -> tuple[str, ...]:
    if node.int_or_string:
        return ("integer", "string")
    return (node.type,) if node.type else ()


def _fits(kind: str, value: Any, wanted: tuple[str, ...]) -> bool:
    if not wanted or kind in wanted:
        return True
    if kind == "integer":
        return "number" in wanted
    return kind == "number" and "integer" in wanted and math.isfinite(value) and value == int(value)


def _check(node: Node, value: Any, old: Any, path: str, found: list[FieldError]) -> None:
    if old is not ABSENT and _same(value, old):
        return
    kind, wanted = _CLASSES[value.__class__], _types(node)
    if value is None:
        if wanted and not node.nullable:
            found.append(_mistyped(path, wanted, kind))
        _check_enum(node, value, path, found)
        return
    if not _fits(kind, value, wanted):
        found.append(_mistyped(path, wanted, kind))
    if node.any_of or node.one_of or node.all_of or node.not_:
        _check_combined(node, value, path, found)
    if kind == "string":
        _check_string(node, value, path, found)
    elif kind == "integer" or kind == "number":
        _check_number(node, value, path, found)
    elif kind == "array":
        _check_list(node, value, old, path, found)
    _check_enum(node, value, path, found)
    if kind == "object":
        _check_map(node, value, old, path, found)


def _same(new: Any, old: Any) -> bool:
    return bool(new == old) and new.__class__ is old.__class__


def _mistyped(path: str, wanted: tuple[str, ...], kind: str) -> FieldError:
    text = f"must be of type {','.join(wanted)}: {shown(kind)}"
    return _invalid(path, kind, text, "FieldValueTypeInvalid")


def _check_enum(node: Node, value: Any, path: str, found: list[FieldError]) -> None:
    allowed = node.raw.get("enum")
    if allowed and not any(_equal(value, each) for each in allowed):
        names = ", ".join(shown(each) if isinstance(each, str) else shown(shown(each)) for each in allowed)
        found.append(
            _cause("FieldValueNotSupported", path, f"Unsupported value: {shown(value)}: supported values: {names}")
        )


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and (isinstance(one, bool) == isinstance(other, bool))


def _check_string(node: Node, value: str, path: str, found: list[FieldError]) -> None:
    raw = node.raw
    longest, shortest, expression = raw.get("maxLength"), raw.get("minLength"), raw.get("pattern")
    if longest is not None and len(value) > longest:
        found.append(too_long(path or "<nil>", longest))
    elif shortest is not None and len(value) < shortest:
        found.append(_invalid(path, value, f"should be at least {shortest} chars long"))
    elif expression and not pattern(expression).search(value):
        found.append(_invalid(path, value, f"should match '{expression}'"))
    format = raw.get("format")
    if format and node.type in ("", "string"):
        rule = FORMATS.get(format.replace("-", "")) or FORMATS.get(format)
        if rule is not None and not rule(value):
            text = f"must be of type {format}: {shown(value)}"
            found.append(_invalid(path, value, text, "FieldValueTypeInvalid"))


def _check_number(node: Node, value: Any, path: str, found: list[FieldError]) -> None:
    raw = node.raw
    multiple, highest, lowest = raw.get("multipleOf"), raw.get("maximum"), raw.get("minimum")
    if multiple and not _is_multiple(value, multiple):
        found.append(_invalid(path, value, f"should be a multiple of {shown(multiple)}"))
    if highest is not None:
        open_end = bool(raw.get("exclusiveMaximum"))
        if value >= highest if open_end else value > highest:
            found.append(
                _invalid(path, value, f"should be less than {'' if open_end else 'or equal to '}{shown(highest)}")
            )
    if lowest is not None:
        open_end = bool(raw.get("exclusiveMinimum"))
        if value <= lowest if open_end else value < lowest:
            text = f"should be greater than {'' if open_end else 'or equal to '}{shown(lowest)}"
            found.append(_invalid(path, value, text))
    if node.type == "integer" and raw.get("format") == "int32" and not -(2**31) <= value < 2**31:
        found.append(_invalid(path, value, "must be of type int32", "FieldValueTypeInvalid"))


def _is_multiple(value: Any, of: Any) -> bool:
    if isinstance(value, int) and isinstance(of, int):
        return value % of == 0
    return math.isclose(value / of, round(value / of), rel_tol=1e-12)


def _check_list(node: Node, value: list[Any], old: Any, path: str, found: list[FieldError]) -> None:
    items = node.items
    if items is not None:
        before: dict[Any, Any] = {}
        if node.list_type == "map" and isinstance(old, list):
            before = {key_of(item, node.list_keys, items): item for item in old}
        for index, item in enumerate(value):
            then = before.get(key_of(item, node.list_keys, items), ABSENT) if before else ABSENT
            _check(items, item, then, f"{path}[{index}]", found)
    fewest, most = node.raw.get("minItems"), node.raw.get("maxItems")
    if fewest is not None and len(value) < fewest:
        found.append(_invalid(path, len(value), f"should have at least {fewest} items"))
    if most is not None and len(value) > most:
        found.append(too_many(path or "<nil>", len(value), most))


def _check_map(node: Node, value: dict[str, Any], old: Any, path: str, found: list[FieldError]) -> None:
    raw = node.raw
    fewest, most = raw.get("minProperties"), raw.get("maxProperties")
    if fewest is not None and len(value) < fewest:
        found.append(_invalid(path, len(value), f"should have at least {fewest} properties"))
    if most is not None and len(value) > most:
        found.append(too_many(path or "<nil>", len(value), most))
    before = old if isinstance(old, dict) and node.map_type != "atomic" else {}
    properties, additional = node.properties, node.additional
    for name, item in value.items():
        below = properties.get(name) or additional
        if below is not None:
            _check(below, item, before.get(name, ABSENT), f"{path}.{name}" if path else name, found)
        elif node.additional_set and raw.get("additionalProperties") is False:
            found.append(_invalid(path, "", "is a forbidden property"))
    for name in raw.get("required") or ():
        if name not in value:
            found.append(_cause("FieldValueRequired", f"{path}.{name}" if path else name, "Required value"))


# --- conditions of conditions -----------------------------------------------------------------------------------------


def _check_combined(node: Node, value: Any, path: str, found: list[FieldError]) -> None:
    def complain(text: str) -> None:
        found.append(_cause("FieldValueInvalid", "", f'Invalid value: "": {shown(path)} must {text}'))

    if node.any_of:
        results = [check(each, value, path=path) for each in node.any_of]
        if all(results):
            complain("validate at least one schema (anyOf)")
            found += _closest(results)
    if node.one_of:
        results = [check(each, value, path=path) for each in node.one_of]
        valid = sum(not result for result in results)
        if valid != 1:
            how = f"Found {valid} valid alternatives" if valid else "Found none valid"
            complain(f"validate one and only one schema (oneOf). {how}")
            if not valid:
                found += _closest(results)
    if node.all_of:
        results = [check(each, value, path=path) for each in node.all_of]
        for result in results:
            found += result
        if any(results):
            complain(f"validate all the schemas (allOf){'. None validated' if all(results) else ''}")
    if node.not_ is not None and not check(node.not_, value, path=path):
        complain("not validate the schema (not)")


def _closest(results: list[list[FieldError]]) -> list[FieldError]:
    """The complaints of the alternative that came closest."""
    return min(results, key=len)
