"""How functions of expressions are declared: a name, the types it takes, what it does, and what it costs.

A module of a library fills a table::

    LIBRARY = Library()

    @LIBRARY.method("startsWith", "string, string -> bool", cost=traversal(0))
    def starts_with(text: str, prefix: str) -> bool: ...

Costs are functions of the sizes of arguments and result, in upstream's units, so that the same one tells what a call
has cost and, asked with bounds, what it may cost at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shim.cel.types import Type, parse, parse_all

Cost = Callable[[Sequence[float], float], float]
"""From the sizes of the arguments and of the result."""
Body = Callable[..., Any]

TRAVERSAL = 0.1  # per character, of going over a text once; upstream's
REGEX = 0.25  # per character of a pattern


@dataclass(frozen=True, slots=True)
class Overload:
    """One form of a function. The first parameter of a method is its target."""

    id: str
    params: tuple[Type, ...]
    result: Type
    member: bool
    body: Body
    cost: Cost | None = None  # 1 where nothing is said


@dataclass(slots=True)
class Function:
    name: str
    overloads: list[Overload]


class Library:
    """A set of declared functions, and of the names of types that come with them."""

    def __init__(self) -> None:
        self.overloads: list[tuple[str, Overload]] = []
        self.types: dict[str, Type] = {}

    def function(self, name: str, signature: str, *, cost: Cost | None = None, id: str = "") -> Callable[[Body], Body]:
        """Declare a function: ``quantity("1k")``."""
        return self._declare(name, signature, False, cost, id)

    def method(self, name: str, signature: str, *, cost: Cost | None = None, id: str = "") -> Callable[[Body], Body]:
        """Declare a method: ``"a".startsWith("b")``."""
        return self._declare(name, signature, True, cost, id)

    def add(self, name: str, signature: str, body: Body, *, member: bool = False, cost: Cost | None = None) -> None:
        """Declare a function whose body is there already."""
        self._declare(name, signature, member, cost, "")(body)

    def _declare(self, name: str, signature: str, member: bool, cost: Cost | None, id: str) -> Callable[[Body], Body]:
        taken, _, result = signature.partition("->")

        def declare(body: Body) -> Body:
            overload = Overload(id or f"{name}({taken.strip()})", parse_all(taken), parse(result), member, body, cost)
            self.overloads.append((name, overload))
            return body

        return declare


class Functions:
    """The functions of an environment by name."""

    def __init__(self, libraries: Iterable[Library]) -> None:
        self._by_name: dict[str, Function] = {}
        self.types: dict[str, Type] = {}
        for library in libraries:
            self.types.update(library.types)
            for name, overload in library.overloads:
                self._by_name.setdefault(name, Function(name, [])).overloads.append(overload)

    def get(self, name: str) -> Function | None:
        return self._by_name.get(name)


def traversal(*places: int, times: int = 1) -> Cost:
    """Going over these arguments together, so many times."""
    return lambda sizes, result: math_ceil(sum(sizes[place] for place in places) * times * TRAVERSAL)


def shorter(sizes: Sequence[float], result: float) -> float:
    """Comparing two values: the shorter one decides."""
    return math_ceil(min(sizes[0], sizes[1]) * TRAVERSAL)


def matching(sizes: Sequence[float], result: float) -> float:
    """Matching a text with a pattern."""
    return math_ceil((1 + sizes[0]) * TRAVERSAL) * math_ceil(sizes[1] * REGEX)


def math_ceil(value: float) -> float:
    return value if value == math.inf else math.ceil(value)
