"""An expression that has been checked, made into Python functions that run it and count what it costs.

Every node becomes one closure over its parts: compiled once, run for every object. Costs are upstream's units: one
for a variable and a field, for calls what their declaration says. A run that costs more than its budget ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

from shim.cel import timing
from shim.cel.calls import SPECIAL, call_of
from shim.cel.checker import Checked
from shim.cel.messages import MESSAGES
from shim.cel.running import Code, Frame, OverBudget, field_of, has, maybe, variable_of
from shim.cel.tree import Call, Fold, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from shim.cel.types import Type
from shim.cel.values import CelError, TypeValue, name_of

CALL_LIMIT = 1_000_000  # of one evaluation, upstream's PerCallLimit
LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40


class Struct(dict[str, Any]):
    """A struct an expression has made: ``Object{...}``."""

    def __init__(self, type: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.TYPE = type


class Result(NamedTuple):
    value: Any
    cost: float


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
        began = perf_counter()
        try:
            value = self._code(frame)
        except CelError as error:
            error.cost = frame.cost  # type: ignore[attr-defined]  # who keeps a budget wants it
            raise
        except RecursionError:
            raise CelError("expression recursion limit exceeded") from None
        finally:
            timing.EVALUATION.add(perf_counter() - began)
        return Result(value, frame.cost)


def compile(text: str, checked: Checked) -> Program:
    """The program of a tree without issues."""
    return Program(text, checked.type, checked, _Compiler(checked).code(checked.root))


class _Compiler:
    def __init__(self, checked: Checked) -> None:
        self._checked = checked

    def code(self, node: Node) -> Code:
        if node in self._checked.constants:
            value = TypeValue(self._checked.constants[node].name)
            return lambda frame: value
        if node in self._checked.names:
            return variable_of(self._checked.names[node])
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
        return variable_of(node.name)

    def _select(self, node: Select) -> Code:
        operand, key = self.code(node.operand), self._checked.keys.get(node, node.field)
        if node.test:
            return lambda frame: has(operand(frame), key)
        if node.optional:

            def optional(frame: Frame) -> Any:
                frame.spend(1)
                return maybe(operand(frame), key)

            return optional

        def select(frame: Frame) -> Any:
            target = operand(frame)
            frame.spend(1)
            if target.__class__ is dict:
                try:
                    return target[key]
                except KeyError:
                    raise CelError(f"no such key: {key}") from None
            return field_of(target, key)

        return select

    def _call(self, node: Call) -> Code:
        args = [self.code(arg) for arg in ([node.target] if node.target else []) + node.args]
        special = SPECIAL.get(node.function)
        return special(*args) if special is not None else call_of(self._checked.overloads.get(node) or (), args)

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
                if not optional:
                    made[key] = value
                elif value.present:
                    made[key] = value.held
            return made

        return build

    def _struct(self, node: StructNode) -> Code:
        type, message = self._checked.types[node], MESSAGES.get(node.name)
        known = message.fields if message else type.fields() if type.fields else {}
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
            return message.make(made) if message else Struct(type.name, made)

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
