"""What may an expression cost? An estimate from the sizes its variables' types allow, made before anything is run.

Definitions of custom resources are refused when a rule of theirs could cost more than a request may. Costs are the
units that :mod:`shim.cel.program` counts; a size nobody limits is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from shim.cel.checker import Checked
from shim.cel.functions import REGEX, TRAVERSAL, Cost, math_ceil, traversal
from shim.cel.program import LIST_COST, MAP_COST, STRUCT_COST
from shim.cel.tree import Call, Fold, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from shim.cel.types import Type
from shim.cel.values import size as size_of_value


class Range(NamedTuple):
    """At least, and at most."""

    low: float
    high: float

    def plus(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def times(self, other: Range) -> Range:
        return Range(_times(self.low, other.low), _times(self.high, other.high))


def _times(one: float, other: float) -> float:
    return 0.0 if not one or not other else one * other


NOTHING, ONE = Range(0, 0), Range(1, 1)
_SIZED = frozenset(("string", "bytes", "list", "map", "dyn", "type"))
_CLOCKS = frozenset(("google.protobuf.Timestamp", "google.protobuf.Duration"))  # sized only where a schema says so
_OVER_ITEMS = frozenset(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"))
_LONGEST_PATTERN = 128  # of a named format
_ESTIMATES: dict[str, Cost] = {
    "startsWith": traversal(1),
    "endsWith": traversal(1),
    "join": lambda sizes, result: math_ceil(result * TRAVERSAL),
    "validate": lambda sizes, result: math_ceil(sizes[1] * TRAVERSAL) * _LONGEST_PATTERN * REGEX,
}
"""Of functions that upstream counts in one way before they are run, and in another while they are."""
_AS_LARGE = frozenset(
    ("lowerAscii", "upperAscii", "substring", "trim", "reverse", "sort", "distinct", "slice", "split")
)


def estimate(checked: Checked, *, of_schema: bool = False) -> Range:
    """The cost of running an expression; ``of_schema``: on values that a schema describes.

    What a schema says to be a number, a truth or an object has no size to upstream, and is compared for nothing.
    """
    return _Estimate(checked, of_schema).cost(checked.root)


class _Estimate:
    def __init__(self, checked: Checked, of_schema: bool) -> None:
        self._checked, self._of_schema = checked, of_schema
        self._bound: dict[str, Range] = {}  # the sizes of a comprehension's variables

    def cost(self, node: Node) -> Range:
        if node in self._checked.constants or isinstance(node, Literal):
            return NOTHING
        if node in self._checked.names or isinstance(node, Ident):
            return ONE
        if isinstance(node, Select):
            below = self.cost(node.operand)
            return below if node.test else below.plus(ONE)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, ListNode):
            return self._sum(node.items).plus(Range(LIST_COST, LIST_COST))
        if isinstance(node, MapNode):
            parts = [part for key, value, _ in node.entries for part in (key, value)]
            return self._sum(parts).plus(Range(MAP_COST, MAP_COST))
        if isinstance(node, StructNode):
            return self._sum([value for _, value, _, _ in node.fields]).plus(Range(STRUCT_COST, STRUCT_COST))
        assert isinstance(node, Fold)
        return self._fold(node)

    def _sum(self, nodes: list[Node]) -> Range:
        total = NOTHING
        for node in nodes:
            total = total.plus(self.cost(node))
        return total

    def _call(self, node: Call) -> Range:
        args = ([node.target] if node.target else []) + node.args
        costs = [self.cost(arg) for arg in args]
        if node.function in ("_&&_", "_||_"):
            return Range(costs[0].low, costs[0].high + costs[1].high)
        if node.function == "_?_:_":
            test, then, other = costs
            return Range(test.low + min(then.low, other.low), test.high + max(then.high, other.high))
        total = NOTHING
        for cost in costs:
            total = total.plus(cost)
        return total.plus(self._own(node, args))

    def _own(self, node: Call, args: list[Node]) -> Range:
        sizes = [self.size(arg) for arg in args]
        if node.function in _OVER_ITEMS and self._checked.types[args[0]].name == "list":
            element = self._checked.types[args[0]].params[0]
            each = 1 + (element.size * 0.1 if element.name in ("string", "bytes") else 0)
            return sizes[0].times(Range(1, each))
        found = []
        for overload in self._checked.overloads.get(node) or ():
            cost = _ESTIMATES.get(node.function, overload.cost)
            if cost is None:
                found.append(ONE)
                continue
            result = self.size(node)
            low = cost([size.low for size in sizes], result.low)
            high = cost([size.high for size in sizes], result.high)
            found.append(Range(low, 0.0 if math.isnan(high) else high))
        return Range(min(each.low for each in found), max(each.high for each in found)) if found else ONE

    def _fold(self, node: Fold) -> Range:
        total = self.cost(node.range).plus(self.cost(node.init))
        times = self.size(node.range)
        self._bound[node.accu] = self._grown(node, times)
        self._bind_items(node)
        once = self.cost(node.condition).plus(self.cost(node.step))
        return total.plus(times.times(once)).plus(self.cost(node.result))

    def _bind_items(self, node: Fold) -> None:
        """The sizes of a loop's variables, where the sizes of what it goes over are known."""
        for name in (node.item, node.item2):
            self._bound.pop(name, None)
        entries = self._entries(node.range)
        if entries is None:
            if node.item2 and self._checked.types[node.range].name == "list":
                self._bound[node.item] = ONE  # the place of an item
            return
        key, value = entries
        if node.item2:
            self._bound[node.item], self._bound[node.item2] = key, value
        else:
            self._bound[node.item] = key if self._checked.types[node.range].name == "map" else value

    def _entries(self, node: Node) -> tuple[Range, Range] | None:
        """How large the keys and the values in a node's value are; of a list the keys are its places."""
        if isinstance(node, ListNode):
            return (ONE, _any_of([self.size(item) for item in node.items])) if node.items else None
        if isinstance(node, MapNode) and node.entries:
            keys, values = zip(*((self.size(key), self.size(value)) for key, value, _ in node.entries), strict=True)
            return _any_of(keys), _any_of(values)
        return None

    def _grown(self, node: Fold, times: Range) -> Range:
        """What is collected item by item is as large as what it is collected from."""
        return Range(0, times.high) if isinstance(node.init, ListNode | MapNode) else ONE

    def size(self, node: Node) -> Range:
        """How large a node's value is."""
        if isinstance(node, Literal):
            exact = float(size_of_value(node.value))
            return Range(exact, exact)
        if node in self._checked.constants:
            return ONE
        if isinstance(node, ListNode):
            return Range(len(node.items), len(node.items))
        if isinstance(node, MapNode):
            return Range(len(node.entries), len(node.entries))
        if isinstance(node, Ident) and node.name in self._bound:
            return self._bound[node.name]
        if isinstance(node, Fold):
            return self._grown(node, self.size(node.range))
        if isinstance(node, Call):
            args = ([node.target] if node.target else []) + node.args
            if node.function == "lists.range" and isinstance(node.args[0], Literal):
                return Range(node.args[0].value, node.args[0].value)
            if node.function == "join":
                return self._joined(args)
            type = self._checked.types.get(node)
            if node.function == "_+_" and type is not None and type.name not in _SIZED:
                return ONE  # a sum of numbers
            if rule := _RESULTS.get(node.function):
                return rule([self.size(arg) for arg in args])
            if node.function in _AS_LARGE and args:
                return Range(0, self.size(args[0]).high)
        type = self._checked.types.get(node)
        if self._of_schema and _is_path(node) and type is not None and type.name not in _SIZED | _CLOCKS:
            return NOTHING
        return _by_type(type)

    def _joined(self, args: list[Node]) -> Range:
        """The items of a list, and what stands between them."""
        items, *separator = map(self.size, args)
        params = self._checked.types[args[0]].params
        total = items.times(_by_type(params[0]) if params else Range(0, math.inf))
        between = Range(max(items.low - 1, 0), max(items.high - 1, 0))
        return total.plus(separator[0].times(between)) if separator else total


def _is_path(node: Node) -> bool:
    """Whether a value is taken out of what is checked as it is."""
    if isinstance(node, Select):
        return not (node.test or node.optional)
    return isinstance(node, Ident) or (isinstance(node, Call) and node.function == "_[_]")


def _any_of(sizes: Iterable[Range]) -> Range:
    lows, highs = zip(*sizes, strict=True)
    return Range(min(lows), max(highs))


def _by_type(type: Type | None) -> Range:
    if type is not None and type.name == "optional_type":
        return _by_type(type.params[0])
    if type is None or (type.name in _CLOCKS and type.size == math.inf):
        return ONE
    return Range(0, type.size) if type.name in _SIZED or type.name in _CLOCKS else ONE


_RESULTS: dict[str, Callable[[list[Range]], Range]] = {
    "_+_": lambda sizes: sizes[0].plus(sizes[1]),
    "_?_:_": lambda sizes: Range(min(sizes[1].low, sizes[2].low), max(sizes[1].high, sizes[2].high)),
    "orValue": lambda sizes: Range(0, max(sizes[0].high, sizes[1].high)),
    "value": lambda sizes: sizes[0],
    "replace": lambda sizes: Range(0, sizes[0].high * max(1.0, sizes[2].high)),
    "dyn": lambda sizes: sizes[0],
    "strings.quote": lambda sizes: Range(sizes[0].low + 2, 2 * sizes[0].high + 2),
}
