"""A structural schema (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/), read once into nodes.

Pruning, defaulting and validation walk these nodes beside the data; what a node has no word for is not looked at
again. Conditions inside ``allOf``, ``anyOf``, ``oneOf`` and ``not`` are nodes too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Raw = Mapping[str, Any]
META_FIELDS = frozenset(("apiVersion", "kind", "metadata"))


class Node:
    """One place of a schema. ``additional`` is the schema of a map's values; None where there is none."""

    __slots__ = (
        "additional",
        "additional_set",
        "all_of",
        "any_of",
        "deep_defaults",
        "deep_embedded",
        "deep_lists",
        "default",
        "embedded",
        "has_default",
        "int_or_string",
        "items",
        "list_keys",
        "list_type",
        "map_type",
        "not_",
        "nullable",
        "one_of",
        "preserve",
        "properties",
        "raw",
        "type",
        "validations",
    )

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.type: str = raw.get("type") or ""
        self.nullable = bool(raw.get("nullable"))
        self.preserve = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        self.has_default = raw.get("default") is not None
        self.default = raw.get("default")
        self.validations: tuple[Raw, ...] = tuple(raw.get("x-kubernetes-validations") or ())
        self.properties = {name: Node(each) for name, each in (raw.get("properties") or {}).items()}
        items = raw.get("items")
        self.items = Node(items) if isinstance(items, Mapping) else None
        additional = raw.get("additionalProperties")
        self.additional_set = additional is not None
        self.additional = Node(additional) if isinstance(additional, Mapping) else None
        self.all_of, self.any_of, self.one_of = (
            tuple(Node(each) for each in raw.get(name) or ()) for name in ("allOf", "anyOf", "oneOf")
        )
        self.not_ = Node(raw["not"]) if raw.get("not") is not None else None
        below = [*self.properties.values(), *filter(None, (self.items, self.additional))]
        self.deep_defaults: bool = any(each.has_default or each.deep_defaults for each in below)
        """Whether something below has a default."""
        self.deep_embedded: bool = self.embedded or any(each.deep_embedded for each in below)
        """Whether there are embedded resources here or below."""
        self.deep_lists: bool = self.list_type in ("set", "map") or any(each.deep_lists for each in below)
        """Whether there are lists here or below whose items must differ."""

    def child(self, name: str) -> Node | None:
        """The schema of a field."""
        found = self.properties.get(name)
        return found if found is not None else self.additional


def key_of(item: Any, keys: tuple[str, ...], items: Node | None) -> tuple[Any, ...]:
    """What names an item of a keyed list; a key that is missing has its default."""
    if not isinstance(item, dict):
        return ()
    properties = items.properties if items else {}
    found = []
    for name in keys:
        value = item.get(name)
        if value is None and name in properties:
            value = properties[name].default
        found.append((value.__class__ is bool, repr(value) if isinstance(value, dict | list) else value))
    return tuple(found)
