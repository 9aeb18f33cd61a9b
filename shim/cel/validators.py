"""What is told of an expression that makes sense, before it is run: values in it that cannot be what they stand for.

Upstream's validators: texts that are no times or patterns, literals of several types, clauses of ``format`` that do not
take what they are given; and what constant folding comes upon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shim.cel.calls import call_of
from shim.cel.checker import Checked
from shim.cel.formatting import TAKES, fill, unfit
from shim.cel.patterns import PatternError, pattern
from shim.cel.running import Frame
from shim.cel.tokens import Issue
from shim.cel.tree import Call, ListNode, Literal, MapNode, Node, children
from shim.cel.types import Type
from shim.cel.values import (
    CelError,
    checked_timestamp,
    parse_duration,
    parse_timestamp,
)

_FORMAT = "format"
_CONVERSIONS = frozenset(("bool", "bytes", "double", "dyn", "duration", "int", "string", "timestamp", "uint"))
_NO_KEYS = {bytes: "Bytes", type(None): "Null"}
_PATTERNS = ("find", "findAll")


class Folded(Exception):
    """An expression with a part that has the same error every time it is run."""


def issues(checked: Checked) -> list[Issue]:
    """All mistakes that the types do not show."""
    validator = _Validator(checked)
    validator.visit(checked.root, within_format=False)
    return validator.found


def fold(checked: Checked) -> None:
    """Raises Folded for a conversion of a literal, or a pattern, that can only fail."""
    _fold(checked, checked.root)


@dataclass(slots=True)
class _Validator:
    checked: Checked
    found: list[Issue] = field(default_factory=list)

    def visit(self, node: Node, *, within_format: bool) -> None:
        if isinstance(node, Call):
            self._literal(node)
            if node.function == _FORMAT and node.target is not None:
                self._format(node)
                within_format = True
        elif not within_format and isinstance(node, ListNode):
            self._alike(node)
        elif not within_format and isinstance(node, MapNode):
            self._alike_entries(node)
        for child in children(node):
            self.visit(child, within_format=within_format)

    def _literal(self, node: Call) -> None:
        """Literals that must be times or patterns."""
        rule = _LITERALS.get(node.function)
        if rule is None or not node.args:
            return
        argument = node.args[rule[2]]
        if not isinstance(argument, Literal) or isinstance(argument.value, bool):
            return
        try:
            rule[0](argument.value)
        except (ValueError, CelError):
            self.found.append(Issue(argument.at, rule[1]))

    def _type(self, node: Node, *, optional: bool) -> Type:
        found = self.checked.types[node]
        return found.params[0] if optional and found.params else found

    def _alike(self, node: ListNode) -> None:
        """Kubernetes asks for items of one type; the first that is of another is told."""
        wanted: Type | None = None
        for index, item in enumerate(node.items):
            found = self._type(item, optional=index in node.optional)
            if wanted is None:
                wanted = found
            elif wanted != found:
                self._mismatch(item, wanted, found)
                return

    def _alike_entries(self, node: MapNode) -> None:
        wanted: tuple[Type, Type] | None = None
        for key, value, optional in node.entries:
            found = self._type(key, optional=False), self._type(value, optional=optional)
            if wanted is None:
                wanted = found
                continue
            for part, one, other in zip((key, value), wanted, found, strict=True):
                if one != other:
                    self._mismatch(part, one, other)

    def _mismatch(self, node: Node, wanted: Type, found: Type) -> None:
        self.found.append(Issue(node.at, f"expected type '{wanted.told()}' but found '{found.told()}'"))

    def _format(self, node: Call) -> None:
        text, values = node.target, node.args[0] if node.args else None
        if not isinstance(text, Literal) or not isinstance(text.value, str) or not isinstance(values, ListNode):
            return
        items = values.items

        def check(place: int, clause: str, precision: int | None) -> str:
            wrong = self._unfit(items[place], TAKES[clause][0], deep=clause == "s")
            if wrong is not None:
                raise _Unfit(wrong, unfit(clause, self.checked.types[wrong].name))
            return ""

        try:
            _, used = fill(text.value, len(items), check)
        except _Unfit as error:
            self.found.append(Issue(error.node.at, str(error)))
        except CelError as error:
            self.found.append(Issue(node.at, str(error)))
        else:
            if len(items) > used:
                counts = f"(expected {used}, got {len(items)})"
                self.found.append(Issue(node.at, f"too many arguments supplied to string.format {counts}"))

    def _unfit(self, node: Node, kinds: tuple[str, ...], *, deep: bool) -> Node | None:
        """The node that a clause does not take: this one, or with ``deep`` one within its literal."""
        if self.checked.types[node].name not in (*kinds, "dyn"):
            return node
        if deep and isinstance(node, ListNode | MapNode):
            return next((bad for part in children(node) if (bad := self._unfit(part, kinds, deep=True))), None)
        return None


class _Unfit(CelError):
    def __init__(self, node: Node, text: str) -> None:
        super().__init__(text)
        self.node = node


def _duration(value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(value)  # upstream's validator cannot judge what it is not made for
    parse_duration(value)


def _timestamp(value: Any) -> None:
    if isinstance(value, str):
        checked_timestamp(parse_timestamp(value).nanos)
    elif isinstance(value, int):
        checked_timestamp(value * 10**9)


def _pattern(value: Any) -> None:
    if isinstance(value, str):
        pattern(value)


_LITERALS: dict[str, tuple[Callable[[Any], None], str, int]] = {
    "matches": (_pattern, "invalid matches argument", -1),
    "duration": (_duration, "invalid duration argument", 0),
    "timestamp": (_timestamp, "invalid timestamp argument", 0),
}


def _fold(checked: Checked, node: Node) -> Literal | None:
    """The literal that a node comes to, if it is one, or a conversion of one. Raises Folded."""
    if isinstance(node, Literal):
        return node
    parts = [_fold(checked, child) for child in children(node)]
    if not isinstance(node, Call) or not parts:
        return None
    last = parts[-1] if len(parts) < 3 else parts[1]
    if node.function in _PATTERNS and node.target is not None and last is not None:
        try:
            _pattern(last.value)
        except PatternError as error:
            raise Folded(str(error)) from None
    if node.function == "_[_]" and last is not None and (kind := _NO_KEYS.get(last.value.__class__)):
        raise Folded(f"invalid qualifier type: types.{kind}")
    if node.function not in _CONVERSIONS or node.target is not None or len(parts) != 1 or parts[0] is None:
        return None
    only, value = parts[0], parts[0].value
    code = call_of(checked.overloads.get(node) or (), [lambda frame: value])
    try:
        return Literal(only.at, code(Frame({}, math.inf)))
    except CelError as error:
        raise Folded(str(error)) from None
