"""Sets of fields, as ``metadata.managedFields`` holds them (FieldsV1): who owns what.

An element of a path is kept as it is written there: ``f:name`` a field or a map's key, ``k:{"name":"c"}`` an item
of a keyed list, ``v:"x"`` an item of a set. Sets are values: operations make new ones and share what is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

Path = tuple[str, ...]
_SHORT = 256  # characters of a key or value whose spelling is remembered: the same few are in all objects of a kind


class FieldSet:
    """``members`` are the elements that are in the set themselves, ``children`` what is in it below an element."""

    __slots__ = ("children", "members")

    def __init__(self, members: Iterable[str] = (), children: Mapping[str, FieldSet] | None = None) -> None:
        self.members: set[str] = set(members)
        self.children: dict[str, FieldSet] = dict(children or {})

    def insert(self, path: Path, below: FieldSet | None = None) -> None:
        """Add a path, and a set below it. The empty path, the whole object, is never owned."""
        at = self
        for element in path[:-1]:
            inner = at.children.get(element)
            if inner is None:
                inner = at.children[element] = FieldSet()
            at = inner
        if path:
            at.members.add(path[-1])
        if below and path:
            at.children[path[-1]] = below
        elif below:
            at.members |= below.members
            at.children |= below.children

    def __bool__(self) -> bool:
        return bool(self.members) or any(self.children.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSet) and self.to_fields() == other.to_fields()

    __hash__ = None  # type: ignore[assignment]  # it can change; mypy knows object's method only

    def __contains__(self, path: Path) -> bool:
        at: FieldSet | None = self
        for element in path[:-1]:
            at = at.children.get(element) if at else None
        return at is not None and path[-1] in at.members

    def __or__(self, other: FieldSet) -> FieldSet:
        children = dict(self.children)
        for element, below in other.children.items():
            children[element] = children[element] | below if element in children else below
        return FieldSet(self.members | other.members, children)

    def __and__(self, other: FieldSet) -> FieldSet:
        children = {
            element: common
            for element, below in self.children.items()
            if element in other.children and (common := below & other.children[element])
        }
        return FieldSet(self.members & other.members, children)

    def __sub__(self, other: FieldSet) -> FieldSet:
        children = {}
        for element, below in self.children.items():
            rest = below - other.children[element] if element in other.children else below
            if rest:
                children[element] = rest
        return FieldSet(self.members - other.members, children)

    def without(self, path: Path) -> FieldSet:
        """Without a path and everything below it."""
        element, *rest = path
        children = {key: below for key, below in self.children.items() if key != element}
        if not rest:
            return FieldSet(self.members - {element}, children)
        if element in self.children:
            children[element] = self.children[element].without(tuple(rest))
        return FieldSet(self.members, children)

    def paths(self, prefix: Path = ()) -> Iterator[Path]:
        """Every path in the set, in order."""
        for element in sorted(self.members):
            yield (*prefix, element)
        for element in sorted(self.children):
            yield from self.children[element].paths((*prefix, element))

    def to_fields(self) -> dict[str, Any]:
        """FieldsV1 as JSON, in the order of the names: clients compare its bytes."""
        if not self.children:
            return {element: {} for element in sorted(self.members)}
        fields: dict[str, Any] = {}
        for element in sorted(self.members | self.children.keys()):
            below = self.children[element].to_fields() if element in self.children else {}
            if element in self.members:
                fields[element] = {".": {}, **below} if below else {}
            elif below:
                fields[element] = below
        return fields

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> FieldSet:
        """From FieldsV1. Raises ValueError for what is none."""
        found = cls()
        for written, below in fields.items():
            if written == ".":
                continue
            if below.__class__ is not dict:
                raise ValueError(f"{written} holds no fields")
            element = _canonical(written)
            if not below or "." in below:
                found.members.add(element)
            if inner := cls.from_fields(below):
                found.children[element] = inner
        return found


def less(fields: Mapping[str, Any], gone: FieldSet) -> dict[str, Any]:
    """FieldsV1 without a set; what the set does not reach is shared."""
    left: dict[str, Any] = {}
    for written, below in fields.items():
        element = _canonical(written) if written != "." else written
        inner = gone.children.get(element)
        if inner is not None and below:
            rest = less(below, inner)
            if not rest:
                continue
            below = rest if len(rest) > 1 or "." not in rest else {}
        if element in gone.members and (not below or "." in below):
            below = {name: item for name, item in below.items() if name != "."}
            if not below:
                continue
        left[element] = below
    return left


def more(fields: Mapping[str, Any], added: FieldSet) -> dict[str, Any]:
    """FieldsV1 with a set, in the order of the names; what the set does not reach is shared."""
    joined = {_canonical(written): below for written, below in fields.items() if written != "."}
    for element in added.members | added.children.keys():
        before, inner = joined.get(element), added.children.get(element)
        is_member = element in added.members or (before is not None and (not before or "." in before))
        below = more(before or {}, inner) if inner is not None else dict(before or {})
        if is_member and below:
            joined[element] = {".": {}, **below}
        elif is_member or below:
            joined[element] = below
    return {element: joined[element] for element in sorted(joined)}


def _canonical(element: str) -> str:
    if element[:2] in ("f:", "i:"):
        return element
    if element[:2] in ("k:", "v:"):
        return _respelled(element) if len(element) < _SHORT else _respelled.__wrapped__(element)
    raise ValueError(f"unknown path element type: {element}")


@lru_cache(maxsize=4096)
def _respelled(element: str) -> str:
    return element[:2] + _compact(json.loads(element[2:]))


def _compact(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def field(name: str) -> str:
    return f"f:{name}"


def dotted(text: str) -> Path:
    """``metadata.labels`` as a path."""
    return tuple(field(name) for name in text.split("."))


def key(keys: Mapping[str, Any]) -> str:
    return f"k:{_compact(keys)}"


def value(item: Any) -> str:
    return f"v:{_compact(item)}"


def show(path: Path) -> str:
    """A path as messages have it: ``.spec.containers[name="c"].image``."""
    text = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "f:":
            text += f".{rest}"
        elif kind == "k:":
            keys: dict[str, Any] = json.loads(rest)
            text += f"[{','.join(f'{name}={_compact(item)}' for name, item in sorted(keys.items()))}]"
        elif kind == "v:":
            text += f"[={rest}]"
        else:
            text += f"[{rest}]"
    return text
