"""Defaults of a schema are filled in, in place: into what clients send, and into what is read from storage."""

from __future__ import annotations

import copy
from typing import Any

from shim.resources.custom.structure import Node


def fill(node: Node | None, value: Any, *, drop_nulls: bool = True) -> None:
    """Fill in what is missing, and drop nulls where the schema allows none and has no default."""
    if value.__class__ is dict:
        if drop_nulls:
            _drop_nulls(node, value)
        if node is None:
            return
        if node.deep_defaults:
            for name, below in node.properties.items():
                if below.has_default and (name not in value or (value[name] is None and not below.nullable)):
                    value[name] = copy.deepcopy(below.default)
        additional = node.additional
        for name, item in value.items():
            found = node.properties.get(name) or additional
            if item is None and found is not None and found is additional and found.has_default and not found.nullable:
                value[name] = item = copy.deepcopy(found.default)
            if item.__class__ is dict or item.__class__ is list:
                fill(found, item, drop_nulls=drop_nulls)
    elif value.__class__ is list:
        items = node.items if node is not None else None
        for index, item in enumerate(value):
            if item is None and items is not None and items.has_default and not items.nullable:
                value[index] = item = copy.deepcopy(items.default)
            if item.__class__ is dict or item.__class__ is list:
                fill(items, item, drop_nulls=drop_nulls)


def _drop_nulls(node: Node | None, value: dict[str, Any]) -> None:
    if None not in value.values():
        return
    for name in [name for name, item in value.items() if item is None]:
        below = node.child(name) if node is not None else None
        if below is not None and not below.nullable and not below.has_default and not _any(below):
            del value[name]


def _any(node: Node) -> bool:
    """A place that takes whatever there is takes null too."""
    return node.preserve and not node.type
