"""What a CEL expression is once it is read: a tree.

A node equals no other, so that what the checker finds out about it can be kept in tables by node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Node:
    """Part of an expression; ``at`` is where errors point to."""

    at: int


@dataclass(slots=True, eq=False)
class Literal(Node):
    value: Any


@dataclass(slots=True, eq=False)
class Ident(Node):
    name: str


@dataclass(slots=True, eq=False)
class Select(Node):
    """``operand.field``; ``test``: ``has()`` of it; ``optional``: ``operand.?field``."""

    operand: Node
    field: str
    test: bool = False
    optional: bool = False


@dataclass(slots=True, eq=False)
class Call(Node):
    """A function, an operator (``_+_``) or a method (with a target)."""

    function: str
    target: Node | None
    args: list[Node]


@dataclass(slots=True, eq=False)
class ListNode(Node):
    items: list[Node]
    optional: frozenset[int]


@dataclass(slots=True, eq=False)
class MapNode(Node):
    entries: list[tuple[Node, Node, bool]]  # key, value, optional


@dataclass(slots=True, eq=False)
class StructNode(Node):
    name: str
    fields: list[tuple[str, Node, bool, int]]  # name, value, optional, where


@dataclass(slots=True, eq=False)
class Fold(Node):
    """A comprehension, what macros become: ``step`` for every item while ``condition``, then ``result``."""

    range: Node
    item: str
    item2: str  # "" but in comprehensions of two variables
    accu: str
    init: Node
    condition: Node
    step: Node
    result: Node


def dotted(node: Node) -> str:
    """``a.b.c`` as a name, or "" where it is none."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test and not node.optional:
        before = dotted(node.operand)
        return f"{before}.{node.field}" if before else ""
    return ""


def children(node: Node) -> Iterator[Node]:
    """The parts of a node, in the order they are written."""
    if isinstance(node, Select):
        yield node.operand
    elif isinstance(node, Call):
        if node.target is not None:
            yield node.target
        yield from node.args
    elif isinstance(node, ListNode):
        yield from node.items
    elif isinstance(node, MapNode):
        for key, value, _ in node.entries:
            yield from (key, value)
    elif isinstance(node, StructNode):
        yield from (value for _, value, _, _ in node.fields)
    elif isinstance(node, Fold):
        yield from (node.range, node.init, node.condition, node.step, node.result)


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for part in children(node):
        yield from walk(part)
