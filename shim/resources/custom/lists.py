"""Lists that a schema calls sets or maps hold no item twice; embedded resources say what they are."""

from __future__ import annotations

from typing import Any

from shim.api.status import FieldError
from shim.resources.causes import duplicate, invalid, required
from shim.resources.custom.structure import Node, key_of


def duplicates(node: Node, value: Any, path: str = "") -> list[FieldError]:
    """Items that are there more than once, in lists of type set and map."""
    if not node.deep_lists:
        return []
    found: list[FieldError] = []
    if isinstance(value, list):
        if node.list_type == "set":
            found += _repeated(value, path)
        elif node.list_type == "map":
            found += _repeated_keys(node, value, path)
        if node.items is not None:
            for index, item in enumerate(value):
                found += duplicates(node.items, item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            below = node.properties.get(name)
            if below is not None:
                found += duplicates(below, item, f"{path}.{name}" if path else name)
            elif node.additional is not None:
                found += duplicates(node.additional, item, f"{path}[{name}]")
    return found


def _repeated(items: list[Any], path: str) -> list[FieldError]:
    seen: list[Any] = []
    hashed: set[Any] = set()
    found = []
    for index, item in enumerate(items):
        if isinstance(item, dict | list):
            known = item in seen
            seen.append(item)
        else:
            mark = (item.__class__ is bool, item)
            known = mark in hashed
            hashed.add(mark)
        if known:
            found.append(duplicate(f"{path}[{index}]", item))
    return found


def _repeated_keys(node: Node, items: list[Any], path: str) -> list[FieldError]:
    seen = set()
    found = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            return [invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")]
        key = key_of(item, node.list_keys, node.items)
        if key in seen:
            found.append(duplicate(f"{path}[{index}]", {name: item[name] for name in node.list_keys if name in item}))
        seen.add(key)
    return found


def embedded(node: Node, value: Any, path: str = "") -> list[FieldError]:
    """Embedded resources without a kind or version."""
    if not node.deep_embedded:
        return []
    found: list[FieldError] = []
    if isinstance(value, dict):
        if node.embedded:
            for name in ("apiVersion", "kind"):
                item = value.get(name)
                if name not in value:
                    found.append(required(f"{path}.{name}" if path else name))
                elif not isinstance(item, str):
                    found.append(invalid(f"{path}.{name}", item, "must be a string"))
                elif not item:
                    found.append(invalid(f"{path}.{name}", item, "must not be empty"))
        for name, item in value.items():
            below = node.child(name)
            if below is not None:
                found += embedded(below, item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            found += embedded(node.items, item, f"{path}[{index}]")
    return found
