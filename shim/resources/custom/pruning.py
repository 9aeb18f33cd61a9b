"""What a custom resource's schema does not know is dropped; what it calls a resource gets proper metadata.

Pruning makes new containers: what a client sent, and may be needed again for another try, stays as it is.
"""

from __future__ import annotations

from typing import Any

from shim.api.decoding import Decoded, decode
from shim.api.meta import Object
from shim.api.schema import Definition
from shim.resources.custom.structure import META_FIELDS, Node


def decode_object(root: Node, meta: Definition, obj: Object) -> Decoded:
    """A whole object: pruned, its metadata as Go would print it. ``meta`` is ObjectMeta's definition."""
    pruner = _Pruner(meta)
    decoded = pruner.map(root, obj, "", resource=True)
    metadata = obj.get("metadata")
    if metadata is not None:
        decoded["metadata"] = pruner.metadata(metadata, "metadata")
    return Decoded(decoded, pruner.unknown, pruner.error)


def prune(root: Node, meta: Definition, value: Any) -> Any:
    """A value of a schema that is not at the root of a resource: a default."""
    return _Pruner(meta).value(root, value, "")


class _Pruner:
    def __init__(self, meta: Definition) -> None:
        self._meta = meta
        self.unknown: list[str] = []
        self.error: str | None = None

    def value(self, node: Node | None, value: Any, path: str) -> Any:
        if value.__class__ is dict:
            return self.map(node, value, path, resource=node is not None and node.embedded)
        if value.__class__ is list:
            if node is not None and node.preserve and node.items is None:
                return value
            items = node.items if node is not None else None
            return [self.value(items, item, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    def map(self, node: Node | None, value: Object, path: str, *, resource: bool) -> Object:
        """``resource``: the map is a resource of its own, whose type and metadata need no schema."""
        if node is None:
            self.unknown += [_join(path, name) for name in value]
            return {}
        kept: Object = {}
        for name, item in value.items():
            below = node.properties.get(name)
            if resource and name in META_FIELDS:
                is_nested = name == "metadata" and bool(path)
                kept[name] = self.metadata(item, _join(path, name)) if is_nested else item
            elif below is not None or node.additional_set:
                kept[name] = self.value(below or node.additional, item, _join(path, name))
            elif node.preserve:
                kept[name] = item
            else:
                self.unknown.append(_join(path, name))
        return kept

    def metadata(self, value: Any, path: str) -> Any:
        if value.__class__ is not dict:
            self.complain(f"json: cannot unmarshal {_NAMES.get(value.__class__, 'number')} into Go struct field "
                          f".{path} of type v1.ObjectMeta")  # fmt: skip
            return {}
        decoded = decode(self._meta, value)
        self.unknown += [f"{path}.{name}" for name in decoded.unknown]
        if decoded.error:
            self.complain(decoded.error)
        return decoded.obj

    def complain(self, message: str) -> None:
        if self.error is None:
            self.error = message


_NAMES = {str: "string", bool: "bool", list: "array"}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
