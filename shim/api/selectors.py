"""Which objects do ``-l app=web,tier in (a,b)`` and ``--field-selector status.phase=Running`` mean?

A selector is parsed once and compiled to a function of a dictionary; texts that were seen before cost a lookup.
Errors are upstream's words (k8s.io/apimachinery/pkg/labels and /fields): the server sends them as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NoReturn

from shim.api import names

Matcher = Callable[[Mapping[str, str]], bool]


class SelectorError(ValueError):
    """A selector that cannot be understood; the text is the API's answer."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term. ``operator`` is one of ``= == != in notin exists ! gt lt``; ``values`` are sorted and distinct."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        values = ",".join(self.values)
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({values})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{values}"
            case _:
                return f"{self.key}{self.operator}{values}"

    def matcher(self) -> Matcher:
        key, values = self.key, frozenset(self.values)
        match self.operator:
            case "=" | "==":
                (value,) = values
                return lambda labels: labels.get(key) == value
            case "in":
                return lambda labels: labels.get(key) in values
            case "!=" | "notin":
                return lambda labels: labels.get(key) not in values
            case "exists":
                return lambda labels: key in labels
            case "!":
                return lambda labels: key not in labels
        bound, greater = int(self.values[0]), self.operator == "gt"

        def compare(labels: Mapping[str, str]) -> bool:
            number = _int64(labels.get(key, ""))
            return number is not None and (number > bound if greater else number < bound)

        return compare


class Selector:
    """A conjunction of requirements; ``matches`` is a plain function, made once."""

    __slots__ = ("matches", "requirements")

    def __init__(self, requirements: Iterable[Requirement], matches: Matcher | None = None) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda requirement: requirement.key))
        self.matches: Matcher = matches or _all([requirement.matcher() for requirement in self.requirements])

    @property
    def empty(self) -> bool:
        """Whether everything matches."""
        return not self.requirements and self is not NOTHING

    def exact(self, key: str) -> str | None:
        """The one value that ``key`` must have, if the selector says so: lets callers use an index."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator in ("=", "==", "in") and len(requirement.values) == 1:
                return requirement.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"Selector({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.requirements == other.requirements and self.empty == other.empty

    def __hash__(self) -> int:
        return hash(self.requirements)


def _all(matchers: Sequence[Matcher]) -> Matcher:
    if not matchers:
        return lambda _: True
    if len(matchers) == 1:
        return matchers[0]

    def every(labels: Mapping[str, str]) -> bool:
        for matches in matchers:  # noqa: SIM110 (a generator would double the cost)
            if not matches(labels):
                return False
        return True

    return every


NOTHING = Selector((), lambda _: False)
EVERYTHING = Selector(())


def _int64(text: str) -> int | None:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


# --- label selectors -------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\s*(?:(?P<symbol>==|!=|[=!(),<>])|(?P<word>[^\s=!(),<>]+))")
_END = ("end", "")


def _tokens(text: str) -> list[tuple[str, str]]:
    """(type, literal) pairs: a symbol's type is itself, ``in`` and ``notin`` are keywords, the rest identifiers."""
    found: list[tuple[str, str]] = []
    text = text.split("\0")[0].rstrip(" \t\r\n")
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # cannot be: every character is a symbol, a space or part of a word
            break
        position = match.end()
        literal = match["symbol"] or match["word"]
        found.append((literal if match["symbol"] or literal in ("in", "notin") else "word", literal))
    return [*found, _END]


@lru_cache(maxsize=4096)
def parse(text: str) -> Selector:
    """Parse the string form: ``a=b,c in (x,y),!d,e!=f,g>1``. Raises SelectorError."""
    return Selector(_Parser(_tokens(text)).parse())


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.position = tokens, 0

    def peek(self) -> tuple[str, str]:
        """The next token, where ``in`` is as good a word as any other."""
        kind, literal = self.tokens[self.position]
        return ("word" if kind in ("in", "notin") else kind), literal

    def take(self) -> tuple[str, str]:
        token = self.peek()
        if self.position < len(self.tokens) - 1:
            self.position += 1
        return token

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            kind, literal = self.peek()
            if kind == "end":
                return requirements
            if kind not in ("word", "!"):
                raise SelectorError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self.requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            kind, literal = self.take()
            if kind == "end":
                return requirements
            if kind != ",":
                raise SelectorError(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self.peek()
            if kind not in ("word", "!"):
                raise SelectorError(f"found '{literal}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        kind, key = self.take()
        absent = kind == "!"
        if absent:
            kind, key = self.take()
        if kind != "word":
            raise SelectorError(f"found '{key}', expected: identifier")
        if errors := names.label_key(key):
            raise SelectorError(f"<nil>: Invalid value: {_quote(key)}: {'; '.join(errors)}")
        if absent:
            return requirement(key, "!", [])
        if self.peek()[0] in ("end", ","):
            return requirement(key, "exists", [])
        kind, literal = self.tokens[self.position]
        self.take()
        operator = {">": "gt", "<": "lt"}.get(kind, kind)
        if operator in ("in", "notin"):
            return requirement(key, operator, self.value_set())
        if operator in ("=", "==", "!=", "gt", "lt"):
            return requirement(key, operator, [self.value()])
        raise SelectorError(f"found '{literal}', expected: in, notin, =, ==, !=, gt, lt")

    def value(self) -> str:
        if self.peek()[0] in ("end", ","):
            return ""
        kind, literal = self.take()
        if kind != "word":
            raise SelectorError(f"found '{literal}', expected: identifier")
        return literal

    def value_set(self) -> set[str]:
        kind, literal = self.take()
        if kind != "(":
            raise SelectorError(f"found '{literal}' expected: '('")
        values: set[str] = set()
        kind, first = self.peek()
        if kind == ")":
            self.take()
            return {""}
        if kind not in ("word", ","):
            raise SelectorError(f"found '{first}', expected: ',', ')' or identifier")
        while True:
            kind, literal = self.take()
            if kind == "word":
                values.add(literal)
                following, text = self.peek()
                if following == ")":
                    break
                if following != ",":
                    raise SelectorError(f"found '{text}', expected: ',' or ')'")
            elif kind == ",":
                if not values:
                    values.add("")
                following = self.peek()[0]
                if following in (")", ","):
                    values.add("")
                if following == ")":
                    break
            else:
                raise SelectorError(f"found '{literal}', expected: ',', or identifier")
        self.take()
        return values


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def requirement(key: str, operator: str, values: Iterable[str]) -> Requirement:
    """One checked term. Raises SelectorError with every complaint."""
    values = sorted(set(values))
    errors = []
    if complaints := names.label_key(key):
        errors.append(f"key: Invalid value: {_quote(key)}: {'; '.join(complaints)}")
    shown = f"values: Invalid value: {_quote(values)}"
    if operator in ("in", "notin"):
        if not values:
            errors.append(f"{shown}: for 'in', 'notin' operators, values set can't be empty")
    elif operator in ("exists", "!"):
        if values:
            errors.append(f"{shown}: values set must be empty for exists and does not exist")
    elif operator in ("gt", "lt"):
        errors += [
            f"values[{index}]: Invalid value: {_quote(value)}: for 'Gt', 'Lt' operators, the value must be an integer"
            for index, value in enumerate(values)
            if _int64(value) is None
        ]
    elif len(values) != 1:
        errors.append(f"{shown}: exact-match compatibility requires one single value")
    for index, value in enumerate(values):
        if complaints := names.label_value(value):
            errors.append(f"values[{index}][{key}]: Invalid value: {_quote(value)}: {'; '.join(complaints)}")
    if errors:
        raise SelectorError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return Requirement(key, operator, tuple(values))


_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_object(selector: Mapping[str, Any] | None) -> Selector:
    """Compile a LabelSelector object: None selects nothing, an empty one everything. Raises SelectorError."""
    if selector is None:
        return NOTHING
    requirements = [requirement(key, "=", [value]) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        name = expression.get("operator", "")
        if name not in _OBJECT_OPERATORS:
            raise SelectorError(f"{_quote(name)} is not a valid label selector operator")
        requirements.append(
            requirement(expression.get("key", ""), _OBJECT_OPERATORS[name], expression.get("values") or ())
        )
    return Selector(requirements) if requirements else EVERYTHING


def go_text(selector: Mapping[str, Any] | None) -> str:
    """A ``LabelSelector`` as Go prints it, for messages that show one whole."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{each['key']},Operator:{each['operator']},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def from_map(labels: Mapping[str, str] | None) -> Selector:
    """Compile a plain map, as Services and ReplicationControllers have: unchecked, an empty one selects everything."""
    return Selector(Requirement(key, "=", (value,)) for key, value in (labels or {}).items())


# --- field selectors -------------------------------------------------------------------------------------------------

_FIELD_TERM = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)


@lru_cache(maxsize=4096)
def parse_fields(text: str) -> Selector:
    """Parse ``metadata.name=a,status.phase!=Running``. A field that an object lacks counts as "". Raises SelectorError.

    Which fields a kind supports is the server's question: it looks at ``requirements``.
    """
    requirements = []
    for term in sorted(re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL)):
        match = _FIELD_TERM.fullmatch(term)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        requirements.append(Requirement(match[1], match[2], (_unescape(match[3]),)))
    return Selector(requirements, _all([_field_matcher(requirement) for requirement in requirements]))


def rename_fields(selector: Selector, names: Mapping[str, str]) -> Selector:
    """The same field selector for objects that keep these fields under other names."""
    requirements = [replace(requirement, key=names[requirement.key]) for requirement in selector.requirements]
    return Selector(requirements, _all([_field_matcher(requirement) for requirement in requirements]))


def _field_matcher(requirement: Requirement) -> Matcher:
    key, (value,) = requirement.key, requirement.values
    if requirement.operator == "!=":
        return lambda fields: fields.get(key, "") != value
    return lambda fields: fields.get(key, "") == value


def _unescape(value: str) -> str:
    def replace(match: re.Match[str]) -> str:
        found = match[0]
        if found in ("\\\\", "\\,", "\\="):
            return found[1]
        _refuse(found)

    return re.sub(r"\\.?|[,=]", replace, value, flags=re.DOTALL)


def _refuse(found: str) -> NoReturn:
    if found.startswith("\\"):
        raise SelectorError(f"invalid field selector: invalid escape sequence: {found}")
    raise SelectorError(f"invalid field selector: unescaped character in value: {ord(found)}")
