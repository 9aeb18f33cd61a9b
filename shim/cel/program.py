"""An expression that has been checked, made into Python functions that run it and count what it costs.

Every node becomes one closure over its parts: compiled once, run for every object. Costs are upstream's units: one
for a variable and a field, for calls what their declaration says. A run that costs more than its budget ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from shim.cel.checker import Checked
from shim.cel.functions import Functions, Overload
from shim.cel.syntax import Call, Fold, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from shim.cel.types import Type
from shim.cel.values import NONE, CelError, Optional, TypeValue, name_of, size

CALL_LIMIT = 1_000_000  # of one evaluation, upstream's PerCallLimit
LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40


class OverBudget(CelError):
    """The evaluation cost more than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class Struct(dict[str, Any]):
    """A struct an expression has made: ``Object{...}``."""

    def __init__(self, type: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.TYPE = type


class Result(NamedTuple):
    value: Any
    cost: float


class Frame:
    """One run: its variables, and what it has cost."""

    __slots__ = ("cost", "limit", "variables")

    def __init__(self, variables: dict[str, Any], limit: float) -> None:
        self.variables, self.limit, self.cost = variables, limit, 0.0

    def spend(self, cost: float) -> None:
        self.cost += cost
        if self.cost > self.limit:
            raise OverBudget


Code = Callable[[Frame], Any]


@dataclass(slots=True)
class Program:
    """A compiled expression. ``text`` is what it was compiled from."""

    text: str
    type: Type
    checked: Checked
    _code: Code

    def evaluate(self, variables: Mapping[str, Any], limit: float = CALL_LIMIT) -> Result:
        """Its value for these variables, and its cost. Raises CelError; OverBudget at ``limit``."""
        frame = Frame(dict(variables), limit)
        try:
            value = self._code(frame)
        except CelError as error:
            error.cost = frame.cost  # type: ignore[attr-defined]  # who keeps a budget wants it
            raise
        except RecursionError:
            raise CelError("expression recursion limit exceeded") from None
        return Result(value, frame.cost)


def compile(text: str, checked: Checked, functions: Functions) -> Program:
    """The program of a tree without issues."""
    return Program(text, checked.type, checked, _Compiler(checked, functions).code(checked.root))


class _Compiler:
    def __init__(self, checked: Checked, functions: Functions) -> None:
        self._checked = checked
        self._functions = functions

    def code(self, node: Node) -> Code:
        if node in self._checked.constants:
            value = TypeValue(self._checked.constants[node].name)
            return lambda frame: value
        if node in self._checked.names:
            return _variable(self._checked.names[node])
        if isinstance(node, Literal):
            literal = node.value
            return lambda frame: literal
        if isinstance(node, Select):
            return self._select(node)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, ListNode):
            return self._list(node)
        if isinstance(node, MapNode):
            return self._map(node)
        if isinstance(node, StructNode):
            return self._struct(node)
        if isinstance(node, Fold):
            return self._fold(node)
        assert isinstance(node, Ident)
        return _variable(node.name)

    def _select(self, node: Select) -> Code:
        operand, key = self.code(node.operand), self._checked.keys.get(node, node.field)
        if node.test:
            return lambda frame: _has(operand(frame), key)
        if node.optional:

            def optional(frame: Frame) -> Any:
                frame.spend(1)
                return _maybe(operand(frame), key)

            return optional

        def select(frame: Frame) -> Any:
            target = operand(frame)
            frame.spend(1)
            if target.__class__ is dict:
                try:
                    return target[key]
                except KeyError:
                    raise CelError(f"no such key: {key}") from None
            return _field(target, key)

        return select

    def _call(self, node: Call) -> Code:
        args = [self.code(arg) for arg in ([node.target] if node.target else []) + node.args]
        special = _SPECIAL.get(node.function)
        if special is not None:
            return special(*args)
        candidates = self._checked.overloads.get(node) or ()
        if len(candidates) == 1:
            return _direct(candidates[0], args)
        return _dispatching(node, candidates, args)

    def _list(self, node: ListNode) -> Code:
        items, optional = [self.code(item) for item in node.items], node.optional

        def build(frame: Frame) -> Any:
            frame.spend(LIST_COST)
            if not optional:
                return [item(frame) for item in items]
            found = []
            for index, item in enumerate(items):
                value = item(frame)
                if index not in optional:
                    found.append(value)
                elif value.present:
                    found.append(value.held)
            return found

        return build

    def _map(self, node: MapNode) -> Code:
        entries = [(self.code(key), self.code(value), optional) for key, value, optional in node.entries]

        def build(frame: Frame) -> Any:
            frame.spend(MAP_COST)
            made: dict[Any, Any] = {}
            for key_code, value_code, optional in entries:
                key, value = key_code(frame), value_code(frame)
                if key in made:
                    raise CelError(f"duplicate key: {key}")
                if not optional:
                    made[key] = value
                elif value.present:
                    made[key] = value.held
            return made

        return build

    def _struct(self, node: StructNode) -> Code:
        type = self._checked.types[node]
        known = type.fields() if type.fields else {}
        fields = [(known[name].key, self.code(value), optional) for name, value, optional, _ in node.fields]

        def build(frame: Frame) -> Any:
            frame.spend(STRUCT_COST)
            made: dict[str, Any] = {}
            for name, value_code, optional in fields:
                value = value_code(frame)
                if not optional:
                    made[name] = value
                elif value.present:
                    made[name] = value.held
            return Struct(type.name, made)

        return build

    def _fold(self, node: Fold) -> Code:
        range, init, condition = self.code(node.range), self.code(node.init), self.code(node.condition)
        step, result = self.code(node.step), self.code(node.result)
        accu, item, item2 = node.accu, node.item, node.item2

        def fold(frame: Frame) -> Any:
            values = range(frame)
            variables = frame.variables
            outer = {name: variables[name] for name in (accu, item, item2) if name in variables}
            if isinstance(values, dict):
                pairs = iter(values.items())
            elif isinstance(values, list):
                pairs = enumerate(values) if item2 else ((value, None) for value in values)
            else:
                raise CelError(f"got '{name_of(values)}', expected iterable type")
            try:
                variables[accu] = init(frame)
                for first, second in pairs:
                    variables[item] = first
                    if item2:
                        variables[item2] = second
                    if condition(frame) is not True:
                        break
                    try:
                        variables[accu] = step(frame)
                    except OverBudget:
                        raise
                    except CelError as error:
                        variables[accu] = error  # another item may yet decide
                return result(frame)
            finally:
                for name in (accu, item, item2):
                    variables.pop(name, None)
                variables.update(outer)

        return fold


def _variable(name: str) -> Code:
    def variable(frame: Frame) -> Any:
        frame.spend(1)
        try:
            value = frame.variables[name]
        except KeyError:
            raise CelError(f"no such attribute(s): {name}") from None
        if isinstance(value, CelError):
            raise value
        return value

    return variable


def _has(target: Any, key: str) -> bool:
    if target.__class__ is Optional:
        return target.present and _has(target.held, key)
    if isinstance(target, dict):
        return key in target
    raise CelError(f"unsupported type for field selection: {name_of(target)}")


def _field(target: Any, key: Any) -> Any:
    if target.__class__ is Optional:
        return _maybe(target, key)
    if isinstance(target, dict):
        if key in target:
            return target[key]
        raise CelError(f"no such key: {key}")
    raise CelError(f"unsupported field selection target: ({name_of(target)}){target}")


def _maybe(target: Any, key: Any) -> Optional:
    if target.__class__ is Optional:
        return _maybe(target.held, key) if target.present else NONE
    if isinstance(target, dict):
        return Optional(True, target[key]) if key in target else NONE
    if isinstance(target, list):
        if key.__class__ is float and key.is_integer():
            key = int(key)
        return Optional(True, target[key]) if isinstance(key, int) and 0 <= key < len(target) else NONE
    raise CelError("no such overload")


# --- calls ------------------------------------------------------------------------------------------------------------


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


def _dispatching(node: Call, candidates: tuple[Overload, ...], args: list[Code]) -> Code:
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


def _or_value(target: Code, other: Code) -> Code:
    def run(frame: Frame) -> Any:
        value = target(frame)
        frame.spend(1)
        if value.__class__ is not Optional:
            raise CelError("no such overload")
        return value.held if value.present else other(frame)

    return run


def _or(target: Code, other: Code) -> Code:
    def run(frame: Frame) -> Any:
        value = target(frame)
        frame.spend(1)
        if value.__class__ is not Optional:
            raise CelError("no such overload")
        return value if value.present else other(frame)

    return run


_SPECIAL: dict[str, Callable[..., Code]] = {
    "_&&_": lambda left, right: _logical(left, right, False),
    "_||_": lambda left, right: _logical(left, right, True),
    "_?_:_": _conditional,
    "@not_strictly_false": _not_strictly_false,
    "orValue": _or_value,
    "or": _or,
}
