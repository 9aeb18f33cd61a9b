"""Does a value fit its schema? Told in the words of structured-merge-diff, which quotes values as Go prints them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shim.api import fieldset
from shim.api.fieldset import Path
from shim.api.gotext import go_text
from shim.api.schema import Type
from shim.api.structured import InvalidValue, child, item_element, items_type


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
            _check(items_type(type), item, (*path, element), errors)
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
