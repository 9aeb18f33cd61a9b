"""The types of CEL as its checker has them, and the short text by which functions are declared.

``parse("map(string, list(A)) -> A")`` is not Python's business but ours: declarations of functions read like the
documentation of CEL. Capital letters are type parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Type:
    """``name`` is the CEL name; ``params`` are those of lists, maps, optionals and ``type``."""

    name: str
    params: tuple[Type, ...] = ()
    fields: Callable[[], Mapping[str, Field]] | None = field(default=None, compare=False)
    """Of structs: their fields by the names expressions use. None where fields are not known."""
    size: float = field(default=math.inf, compare=False)
    """How large a value can be at most: characters, bytes, items. For the estimate of costs."""

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return f"{self.name}({', '.join(str(each) for each in self.params)})"

    def told(self) -> str:
        """The name as the checker says it."""
        name = _TOLD.get(self.name, self.name)
        return f"{name}({', '.join(each.told() for each in self.params)})" if self.params else name

    @property
    def is_parameter(self) -> bool:
        return self.name[0] == "%"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct: its type, and the key it has in the data (names are escaped in expressions)."""

    type: Type
    key: str


DYN = Type("dyn")
NULL = Type("null_type")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("google.protobuf.Timestamp")
DURATION = Type("google.protobuf.Duration")
ERROR = Type("!error!")
"""Of what failed to check already: fits everything, so that one mistake is told once."""

_SHORT = {"timestamp": TIMESTAMP, "duration": DURATION, "null": NULL}
_TOLD = {type.name: short for short, type in _SHORT.items()}
_NULLABLE = frozenset((TIMESTAMP.name, DURATION.name))
SCALARS = frozenset(("bool", "int", "uint", "double", "string", "bytes", "null_type", "dyn", "!error!"))


def list_of(element: Type, size: float = math.inf) -> Type:
    return Type("list", (element,), size=size)


def map_of(key: Type, value: Type, size: float = math.inf) -> Type:
    return Type("map", (key, value), size=size)


def optional_of(value: Type) -> Type:
    return Type("optional_type", (value,))


def type_of(value: Type) -> Type:
    return Type("type", (value,))


def struct(name: str, fields: Callable[[], Mapping[str, Field]]) -> Type:
    """An object whose fields are known. ``fields`` is asked when it is first needed: schemas may be recursive."""
    return Type(name, (), fields)


_TOKEN = re.compile(r"\s*([A-Za-z][\w.@]*|[(),])")


def parse(text: str) -> Type:
    """A type as it is written: ``list(string)``; a single capital letter is a type parameter."""
    types = parse_all(text)
    if len(types) != 1:
        raise ValueError(text)
    return types[0]


def parse_all(text: str) -> tuple[Type, ...]:
    """Several types, separated by commas."""
    tokens = _TOKEN.findall(text)
    at = 0

    def one() -> Type:
        nonlocal at
        name = tokens[at]
        at += 1
        if at < len(tokens) and tokens[at] == "(":
            params = []
            while tokens[at] != ")":
                at += 1  # the parenthesis, or a comma
                params.append(one())
            at += 1
            return Type("optional_type" if name == "optional" else name, tuple(params))
        if len(name) == 1 and name.isupper():
            return Type(f"%{name}")
        return _SHORT.get(name) or Type(name)

    found = []
    while at < len(tokens):
        found.append(one())
        at += 1  # a comma
    return tuple(found)


class Substitution:
    """What type parameters have been found to stand for."""

    def __init__(self) -> None:
        self._found: dict[str, Type] = {}
        self._fresh = 0

    def copy(self) -> Substitution:
        new = Substitution()
        new._found, new._fresh = self._found.copy(), self._fresh
        return new

    def adopt(self, other: Substitution) -> None:
        self._found, self._fresh = other._found, other._fresh

    def fresh(self) -> Type:
        """A parameter nothing is known of yet."""
        self._fresh += 1
        return Type(f"%{self._fresh}")

    def instantiate(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        """The types of a declaration with parameters of their own."""
        named: dict[str, Type] = {}

        def renew(type: Type) -> Type:
            if type.is_parameter:
                if type.name not in named:
                    named[type.name] = self.fresh()
                return named[type.name]
            if type.params:
                return Type(type.name, tuple(renew(each) for each in type.params), type.fields, type.size)
            return type

        return tuple(renew(each) for each in types)

    def resolve(self, type: Type, *, unknown: Type | None = None) -> Type:
        """The type with its parameters replaced by what they stand for; ``unknown`` for those that are still open."""
        if type.is_parameter:
            found = self._found.get(type.name)
            if found is not None:
                return self.resolve(found, unknown=unknown)
            return unknown or type
        if type.params:
            return Type(
                type.name, tuple(self.resolve(each, unknown=unknown) for each in type.params), type.fields, type.size
            )
        return type

    def assign(self, wanted: Type, given: Type) -> bool:
        """Whether ``given`` may stand where ``wanted`` is; remembers what parameters must be for that."""
        wanted, given = self._shallow(wanted), self._shallow(given)
        if wanted.is_parameter:
            if wanted != given and _mentions(self.resolve(given), wanted.name):
                return False
            if wanted != given:
                self._found[wanted.name] = given
            return True
        if given.is_parameter:
            if _mentions(self.resolve(wanted), given.name):
                return False
            self._found[given.name] = wanted
            return True
        if "dyn" in (wanted.name, given.name) or "!error!" in (wanted.name, given.name):
            return True
        if given.name == "null_type" and wanted.name != "null_type":
            return wanted.name in _NULLABLE or wanted.fields is not None or _is_opaque(wanted)
        if wanted.name == "null_type" and given.name != "null_type":
            return given.name in _NULLABLE or given.fields is not None or _is_opaque(given)
        if wanted.name != given.name or len(wanted.params) != len(given.params):
            return False
        if wanted.name == "type":
            return True
        return all(self.assign(left, right) for left, right in zip(wanted.params, given.params, strict=True))

    def _shallow(self, type: Type) -> Type:
        while type.is_parameter and type.name in self._found:
            type = self._found[type.name]
        return type


def _is_opaque(type: Type) -> bool:
    return type.name not in SCALARS and type.name not in ("list", "map", "type")


def _mentions(type: Type, name: str) -> bool:
    return type.name == name or any(_mentions(each, name) for each in type.params)


def join(left: Type, right: Type) -> Type:
    """The more general of two types that fit each other: a ``dyn`` anywhere stays one."""
    if left.name == "dyn" or right.name == "dyn":
        return DYN
    if left.params and left.name == right.name:
        pairs = zip(left.params, right.params, strict=True)
        return Type(left.name, tuple(join(one, other) for one, other in pairs), left.fields)
    return right if left.name == "null_type" or left.is_parameter else left
