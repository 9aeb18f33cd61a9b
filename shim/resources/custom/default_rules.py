"""Does a schema allow its own defaults? They are judged as a value that a client would send, rules in CEL included."""

from __future__ import annotations

from typing import Any

from shim.api.status import FieldError
from shim.resources.causes import invalid
from shim.resources.custom import rules, values
from shim.resources.custom.structure import META_FIELDS, Node


def check_defaults(node: Node, path: str) -> list[FieldError]:
    """Defaults that do not fit their own schema."""
    found: list[FieldError] = []
    if node.has_default:
        at = f"{path}.default"
        if _has_unknown(node, node.default):
            found.append(invalid(at, node.default, "must not have unknown fields"))
        elif problems := values.check(node, node.default, path=at):
            found += problems
        else:
            place = rules.build(node)
            found += rules.check(place, node.default, path=at, root=False) if place else []
    if node.items is not None:
        found += check_defaults(node.items, f"{path}.items")
    for name, each in node.properties.items():
        found += check_defaults(each, f"{path}.properties[{name}]")
    return found


def _has_unknown(node: Node | None, value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_unknown(node.items if node else None, item) for item in value)
    if not isinstance(value, dict):
        return False
    if node is None:
        return bool(value)
    for name, item in value.items():
        if node.embedded and name in META_FIELDS:
            continue
        below = node.properties.get(name)
        if below is None and not node.additional_set:
            if not node.preserve:
                return True
            continue
        if _has_unknown(below or node.additional, item):
            return True
    return False
