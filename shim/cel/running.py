"""One run of an expression: its variables, what it may cost, and how it reads variables and fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shim.cel.values import NONE, CelError, Optional, holds, name_of


class OverBudget(CelError):
    """The evaluation cost more than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class Frame:
    """One run: its variables, and what it has cost."""

    __slots__ = ("cost", "limit", "variables")

    def __init__(self, variables: dict[str, Any], limit: float) -> None:
        self.variables, self.limit, self.cost = variables, limit, 0.0

    def spend(self, cost: float) -> None:
        """Raises OverBudget."""
        self.cost += cost
        if self.cost > self.limit:
            raise OverBudget


Code = Callable[[Frame], Any]
"""What every node of an expression becomes: a function from a run to the node's value."""


def variable_of(name: str) -> Code:
    """Reads a variable; one that stands for an error (a step of a fold that failed) raises it."""

    def read(frame: Frame) -> Any:
        frame.spend(1)
        try:
            value = frame.variables[name]
        except KeyError:
            raise CelError(f"no such attribute(s): {name}") from None
        if isinstance(value, CelError):
            raise value
        return value

    return read


def has(target: Any, key: str) -> bool:
    """``has(target.key)``. Raises CelError."""
    if target.__class__ is Optional:
        return target.present and has(target.held, key)
    if isinstance(target, dict):
        return key in target
    raise CelError(f"unsupported type for field selection: {name_of(target)}")


def field_of(target: Any, key: Any) -> Any:
    """``target.key``; of an optional, an optional. Raises CelError."""
    if target.__class__ is Optional:
        return maybe(target, key)
    if isinstance(target, dict):
        if key in target:
            return target[key]
        raise CelError(f"no such key: {key}")
    raise CelError(f"unsupported field selection target: ({name_of(target)}){target}")


def maybe(target: Any, key: Any) -> Optional:
    """``target.?key`` and ``target[?key]``: nothing where the target has no fields."""
    if target.__class__ is Optional:
        return maybe(target.held, key) if target.present else NONE
    if isinstance(target, dict):
        return Optional(True, target[key]) if holds(target, key) else NONE
    if isinstance(target, list):
        if key.__class__ is float and key.is_integer():
            key = int(key)
        return Optional(True, target[key]) if isinstance(key, int) and 0 <= key < len(target) else NONE
    return NONE
