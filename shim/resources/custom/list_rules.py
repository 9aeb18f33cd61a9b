"""What may a schema say of how its lists and maps are merged (``x-kubernetes-list-type`` and its like)?

Server-side apply merges by them (KEP-555), so that what names an item must be there, and must not be null.
"""

from __future__ import annotations

from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, required, unsupported
from shim.resources.custom.structure import Node


def check_merging(node: Node, path: str) -> list[FieldError]:
    """What one place says of itself, and of the items of its list."""
    raw, found = node.raw, []
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        at = f"{path}.x-kubernetes-preserve-unknown-fields"
        found.append(invalid(at, False, "must be true or undefined"))
    if node.map_type:
        found += _needs_type(node, path, "object", "x-kubernetes-map-type")
        if node.map_type not in ("atomic", "granular"):
            found.append(unsupported(f"{path}.x-kubernetes-map-type", node.map_type, ("atomic", "granular")))
    if node.list_type:
        found += _needs_type(node, path, "array", "x-kubernetes-list-type")
        if node.list_type == "set" and node.type == "array" and node.items is not None:
            text, items = "must be atomic as item of a list with x-kubernetes-list-type=set", node.items
            if items.type == "array" and items.list_type not in ("", "atomic"):
                found.append(invalid(f"{path}.items.x-kubernetes-list-type", items.list_type, text))
            if items.type == "object" and items.map_type != "atomic":
                found.append(invalid(f"{path}.items.x-kubernetes-map-type", items.list_type or None, text))
        if node.list_type not in ("atomic", "set", "map"):
            found.append(unsupported(f"{path}.x-kubernetes-list-type", node.list_type, ("atomic", "set", "map")))
    if node.list_keys and node.list_type != "map":
        at, text = f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty"
        found.append(invalid(at, node.list_type, text) if node.list_type else required(at, text))
    if node.list_type == "map":
        found += _keyed(node, path)
    if node.list_type in ("set", "map") and node.items is not None:
        found += _items_of_keyed(node, path)
    return found


def _needs_type(node: Node, path: str, type: str, extension: str) -> list[FieldError]:
    if node.type == type:
        return []
    text = f"must be {type} if {extension} is specified"
    return [invalid(f"{path}.type", node.type, text) if node.type else required(f"{path}.type", text)]


def _keyed(node: Node, path: str) -> list[FieldError]:
    found = []
    at = f"{path}.x-kubernetes-list-map-keys"
    if not node.list_keys:
        found.append(required(at, "must not be empty if x-kubernetes-list-type is map"))
    if node.items is None:
        return [*found, required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")]
    if node.items.type != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        return [*found, invalid(f"{path}.items.type", node.items.type, text)]
    for index, key in enumerate(node.list_keys):
        below = node.items.properties.get(key)
        if below is None:
            found.append(invalid(at, list(node.list_keys), "entries must all be names of item properties"))
        elif below.type in ("array", "object"):
            text = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            found.append(invalid(f"{path}.items.properties[{key}].type", node.items.type, text))
        if key in node.list_keys[:index]:
            found.append(invalid(at, list(node.list_keys), "must not contain duplicate entries"))
    return found


def _items_of_keyed(node: Node, path: str) -> list[FieldError]:
    items = node.items
    assert items is not None
    found = []
    if items.nullable:
        text = f"cannot be nullable when x-kubernetes-list-type is {node.list_type}"
        found.append(forbidden(f"{path}.items.nullable", text))
    for key in node.list_keys if node.list_type == "map" else ():
        below = items.properties.get(key)
        if below is None:
            continue
        at = f"{path}.items.properties[{key}]"
        why = "this property is in x-kubernetes-list-map-keys, so it"
        if key not in (items.raw.get("required") or ()) and not below.has_default:
            found.append(required(f"{at}.default", f"{why} must have a default or be a required property"))
        if below.nullable:
            found.append(forbidden(f"{at}.nullable", f"{why} cannot be nullable"))
    return found
