"""How is a function called? Its form chosen, its cost paid before it does its work, its failure told in CEL's words.

Some decide without all their arguments (``&&``, ``? :``, ``orValue``): those get code instead of values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shim.cel.functions import Overload
from shim.cel.running import Code, Frame, OverBudget
from shim.cel.values import CelError, Optional, name_of, size


def call_of(candidates: Sequence[Overload], args: list[Code]) -> Code:
    """The code of a call that may have these forms."""
    return _direct(candidates[0], args) if len(candidates) == 1 else _dispatching(candidates, args)


def _direct(overload: Overload, args: list[Code]) -> Code:
    """A call whose form the checker could tell."""
    body, cost = overload.body, overload.cost
    if cost is None and len(args) == 2:
        left, right = args

        def binary(frame: Frame) -> Any:
            one, other = left(frame), right(frame)
            frame.spend(1)
            return _run(body, (one, other))

        return binary

    def call(frame: Frame) -> Any:
        values = [arg(frame) for arg in args]
        return _finish(frame, overload, values)

    return call


def _finish(frame: Frame, overload: Overload, values: list[Any]) -> Any:
    cost = overload.cost
    if cost is None:
        frame.spend(1)
        return _run(overload.body, values)
    sizes = [size(value) for value in values]
    frame.spend(cost(sizes, 0))  # before the work is done: it may be too much
    result = _run(overload.body, values)
    frame.cost += max(0, cost(sizes, size(result)) - cost(sizes, 0))
    return result


def _run(body: Callable[..., Any], values: Any) -> Any:
    try:
        return body(*values)
    except CelError:
        raise
    except (TypeError, AttributeError, KeyError, ValueError, OverflowError):
        raise CelError("no such overload") from None


def _dispatching(candidates: Sequence[Overload], args: list[Code]) -> Code:
    """A call whose form depends on what its arguments turn out to be."""
    known: dict[tuple[type, ...], Overload | None] = {}

    def call(frame: Frame) -> Any:
        values = [arg(frame) for arg in args]
        classes = tuple(value.__class__ for value in values)
        if classes not in known:
            known[classes] = next((each for each in candidates if _takes(each, values)), None)
        overload = known[classes]
        if overload is None:
            raise CelError("no such overload")
        return _finish(frame, overload, values)

    return call


def _takes(overload: Overload, values: list[Any]) -> bool:
    return all(
        param.is_parameter
        or param.name in ("dyn", name_of(value))
        or (param.fields is not None and isinstance(value, dict))
        for param, value in zip(overload.params, values, strict=True)
    )


# --- what decides without all its arguments ---------------------------------------------------------------------------


def _logical(left: Code, right: Code, decides: bool) -> Code:
    """``&&`` and ``||``: what decides wins over an error on the other side."""

    def run(frame: Frame) -> Any:
        failed: CelError | None = None
        for side in (left, right):
            try:
                value = side(frame)
            except OverBudget:
                raise
            except CelError as error:
                failed = failed or error
                continue
            if value is decides:
                return decides
            if value.__class__ is not bool:
                failed = failed or CelError("no such overload")
        if failed is not None:
            raise failed
        return not decides

    return run


def _conditional(test: Code, then: Code, otherwise: Code) -> Code:
    def run(frame: Frame) -> Any:
        value = test(frame)
        if value is True:
            return then(frame)
        if value is False:
            return otherwise(frame)
        raise CelError("no such overload")

    return run


def _not_strictly_false(operand: Code) -> Code:
    def run(frame: Frame) -> Any:
        frame.spend(1)
        try:
            return operand(frame) is not False
        except OverBudget:
            raise
        except CelError:
            return True

    return run


def _otherwise(target: Code, other: Code, *, held: bool) -> Code:
    """What an optional has, or itself unless ``held``; where it has nothing, the other."""

    def run(frame: Frame) -> Any:
        value = target(frame)
        frame.spend(1)
        if value.__class__ is not Optional:
            raise CelError("no such overload")
        if not value.present:
            return other(frame)
        return value.held if held else value

    return run


SPECIAL: dict[str, Callable[..., Code]] = {
    "_&&_": lambda left, right: _logical(left, right, False),
    "_||_": lambda left, right: _logical(left, right, True),
    "_?_:_": _conditional,
    "@not_strictly_false": _not_strictly_false,
    "orValue": lambda target, other: _otherwise(target, other, held=True),
    "or": lambda target, other: _otherwise(target, other, held=False),
}
"""Those, by the function's name."""
