"""Does an expression make sense for its variables? Types are inferred, overloads chosen, mistakes placed.

What comes out is the type of every node, which compiling and the estimate of costs ask for. Messages are those of
the reference implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shim.cel import types as t
from shim.cel.functions import Function, Functions, Overload
from shim.cel.messages import MESSAGES
from shim.cel.tokens import Issue
from shim.cel.tree import Call, Fold, Ident, ListNode, Literal, MapNode, Node, Select, StructNode, dotted
from shim.cel.types import Type
from shim.cel.values import name_of

_TYPE_NAMES = {
    "bool": t.BOOL,
    "int": t.INT,
    "uint": t.UINT,
    "double": t.DOUBLE,
    "string": t.STRING,
    "bytes": t.BYTES,
    "list": t.list_of(t.DYN),
    "map": t.map_of(t.DYN, t.DYN),
    "null_type": t.NULL,
    "type": t.type_of(t.DYN),
    "optional_type": t.optional_of(t.DYN),
    "google.protobuf.Timestamp": t.TIMESTAMP,
    "google.protobuf.Duration": t.DURATION,
}

_LOGICAL = ("_&&_", "_||_")


@dataclass(slots=True)
class Checked:
    """A tree with what was found out about its nodes."""

    root: Node
    types: dict[Node, Type]
    issues: list[Issue]
    overloads: dict[Call, tuple[Overload, ...]]
    names: dict[Node, str] = field(default_factory=dict)
    """Identifiers, and selections that are qualified names of variables or types."""
    constants: dict[Node, Type] = field(default_factory=dict)
    """Names of types, which are values."""
    keys: dict[Select, str] = field(default_factory=dict)
    """The key in the data of a field that is written otherwise."""

    @property
    def type(self) -> Type:
        return self.types[self.root]


class Checker:
    """Checks one expression."""

    def __init__(
        self, variables: Mapping[str, Type], functions: Functions, structs: Callable[[str], Type | None]
    ) -> None:
        self._scopes: list[Mapping[str, Type]] = [variables]
        self._functions = functions
        self._structs = structs
        self._substitution = t.Substitution()
        self._checked = Checked(Literal(0, None), {}, [], {})

    def check(self, root: Node) -> Checked:
        checked = self._checked
        checked.root = root
        self._type(root)
        resolve = self._substitution.resolve
        checked.types = {node: resolve(type, unknown=t.DYN) for node, type in checked.types.items()}
        return checked

    def _issue(self, at: int, message: str) -> Type:
        self._checked.issues.append(Issue(at, message))
        return t.ERROR

    def _show(self, type: Type) -> str:
        return self._substitution.resolve(type, unknown=t.DYN).told()

    def _type(self, node: Node) -> Type:
        if isinstance(node, Literal):
            found = t.parse(name_of(node.value))
        elif isinstance(node, Ident):
            found = self._ident(node)
        elif isinstance(node, Select):
            found = self._select(node)
        elif isinstance(node, Call):
            found = self._call(node)
        elif isinstance(node, ListNode):
            found = self._list(node)
        elif isinstance(node, MapNode):
            found = self._map(node)
        elif isinstance(node, StructNode):
            found = self._struct(node)
        else:
            assert isinstance(node, Fold)
            found = self._fold(node)
        self._checked.types[node] = found
        return found

    def _lookup(self, name: str) -> Type | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return None

    def _name(self, node: Node, name: str) -> Type | None:
        """A variable, or the name of a type."""
        name = name.removeprefix(".")
        variable = self._lookup(name)
        if variable is not None:
            self._checked.names[node] = name
            return variable
        type = _TYPE_NAMES.get(name) or self._structs(name) or self._functions.types.get(name)
        if type is None:
            return None
        self._checked.constants[node] = type
        return t.type_of(type)

    def _is_free(self, qualified: str) -> bool:
        """Whether this is the name of something, not a field of the variable it begins with."""
        return self._lookup(qualified) is not None or self._lookup(qualified.split(".")[0]) is None

    def _ident(self, node: Ident) -> Type:
        found = self._name(node, node.name)
        return found or self._issue(node.at, f"undeclared reference to '{node.name}' (in container '')")

    def _select(self, node: Select) -> Type:
        if not node.test and not node.optional:
            qualified = dotted(node)
            if qualified and self._is_free(qualified) and (found := self._name(node, qualified)):
                return found
        target = self._substitution.resolve(self._type(node.operand))
        is_optional = node.optional
        if target.name == "optional_type":
            target, is_optional = self._substitution.resolve(target.params[0]), True
        result = self._field(node, target)
        if node.test:
            return t.BOOL
        if is_optional and result.name != "!error!":
            return result if result.name == "optional_type" and not node.optional else t.optional_of(result)
        return result

    def _field(self, node: Select, target: Type) -> Type:
        if target.name == "map":
            return target.params[1]
        if target.fields is not None:
            found = target.fields().get(node.field)
            if found is None:
                return self._issue(node.at, f"undefined field '{node.field}'")
            self._checked.keys[node] = found.key
            return found.type
        if target.is_parameter:
            self._substitution.assign(target, t.DYN)
            return t.DYN
        if target.name in ("dyn", "!error!"):
            return t.DYN if target.name == "dyn" else t.ERROR
        return self._issue(node.at, f"type '{self._show(target)}' does not support field selection")

    def _call(self, node: Call) -> Type:
        if node.function == "_?_:_":
            return self._resolve(node, node.args)
        if node.target is not None:
            name = dotted(node.target)
            qualified = f"{name}.{node.function}"
            if name and self._lookup(name.split(".")[0]) is None and self._functions.get(qualified):
                node.function, node.target = qualified, None
                return self._resolve(node, node.args)
            return self._resolve(node, [node.target, *node.args])
        return self._resolve(node, node.args)

    def _resolve(self, node: Call, args: list[Node]) -> Type:
        function: Function | None = self._functions.get(node.function)
        member = node.target is not None
        if node.function in _LOGICAL:
            for arg in args:
                self._expect(arg, t.BOOL)
        given = [t.BOOL if node.function in _LOGICAL else self._type(arg) for arg in args]
        if function is None:
            return self._issue(node.at, f"undeclared reference to '{node.function}' (in container '')")
        matching: list[Overload] = []
        result: Type | None = None
        for overload in function.overloads:
            if overload.member != member or len(overload.params) != len(given):
                continue
            trial = self._substitution.copy()
            *params, wanted = trial.instantiate((*overload.params, overload.result))
            if not all(trial.assign(param, type) for param, type in zip(params, given, strict=True)):
                continue
            self._substitution.adopt(trial)
            matching.append(overload)
            resolved = trial.resolve(wanted)
            if result is None:
                result = resolved
            elif result != resolved:
                result = t.DYN
        if result is None:
            shown = [self._show(type) for type in given]
            text = f"{shown[0]}.({', '.join(shown[1:])})" if member else f"({', '.join(shown)})"
            return self._issue(node.at, f"found no matching overload for '{node.function}' applied to '{text}'")
        self._checked.overloads[node] = tuple(matching)
        return result

    def _list(self, node: ListNode) -> Type:
        element: Type | None = None
        for index, item in enumerate(node.items):
            found = self._type(item)
            if index in node.optional:
                found = self._unwrap(item, found)
            element = self._joined(element, found)
        return t.list_of(element or self._substitution.fresh())

    def _map(self, node: MapNode) -> Type:
        key: Type | None = None
        value: Type | None = None
        for key_node, value_node, optional in node.entries:
            key = self._joined(key, self._type(key_node))
            found = self._type(value_node)
            if optional:
                found = self._unwrap(value_node, found)
            value = self._joined(value, found)
        fresh = self._substitution.fresh
        return t.map_of(key or fresh(), value or fresh())

    def _unwrap(self, node: Node, type: Type) -> Type:
        inner = self._substitution.fresh()
        if not self._substitution.assign(t.optional_of(inner), type):
            wanted = self._show(t.optional_of(type))
            return self._issue(node.at, f"expected type '{wanted}' but found '{self._show(type)}'")
        return self._substitution.resolve(inner)

    def _joined(self, first: Type | None, found: Type) -> Type:
        """What two items of a literal are both; that Kubernetes wants them alike is looked at in validators."""
        if first is None:
            return found
        if self._substitution.assign(first, found):
            resolve = self._substitution.resolve
            return t.join(resolve(first), resolve(found))
        return t.DYN

    def _struct(self, node: StructNode) -> Type:
        type, message = self._structs(node.name), MESSAGES.get(node.name)
        if message is not None:
            type, fields = message.type, message.fields
        elif type is not None and type.fields is not None:
            fields = type.fields()
        else:
            return self._issue(node.at, f"undeclared reference to '{node.name}' (in container '')")
        for name, value, optional, at in node.fields:
            found = self._type(value)
            if optional:
                found = self._unwrap(value, found)
            field = fields.get(name)
            if field is None:
                self._issue(at, f"undefined field '{name}'")
            elif not self._substitution.assign(field.type, found):
                shown = self._show(field.type)
                self._issue(
                    at, f"expected type of field '{name}' is '{shown}' but provided type is '{self._show(found)}'"
                )
        return type

    def _fold(self, node: Fold) -> Type:
        range = self._substitution.resolve(self._type(node.range))
        first, second = self._items(node, range)
        accu = self._type(node.init)
        self._scopes.append({node.accu: accu})
        self._scopes.append({node.item: first, node.item2: second} if node.item2 else {node.item: first})
        self._expect(node.condition, t.BOOL)
        step = self._type(node.step)
        if not self._substitution.assign(accu, step):
            shown = (self._show(accu), self._show(step))
            self._issue(node.step.at, "expected type '{}' but found '{}'".format(*shown))
        self._scopes.pop()
        result = self._type(node.result)
        self._scopes.pop()
        return self._substitution.resolve(result)

    def _items(self, node: Fold, range: Type) -> tuple[Type, Type]:
        """What a comprehension's variables are: items, or keys; or places and items, or keys and values."""
        if range.name == "list":
            return (t.INT, range.params[0]) if node.item2 else (range.params[0], t.DYN)
        if range.name == "map":
            return range.params[0], range.params[1]
        if range.is_parameter:
            self._substitution.assign(range, t.DYN)
        elif range.name not in ("dyn", "!error!"):
            text = "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)"
            self._issue(node.range.at, text.format(self._show(range)))
            return t.ERROR, t.ERROR
        return t.DYN, t.DYN

    def _expect(self, node: Node, wanted: Type) -> None:
        found = self._type(node)
        if not self._substitution.assign(wanted, found):
            self._issue(node.at, f"expected type '{wanted}' but found '{self._show(found)}'")
