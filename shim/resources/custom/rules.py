"""The CEL rules of a schema (``x-kubernetes-validations``): compiled once, run for every object that is written.

A rule that mentions ``oldSelf`` judges a change, and runs where the old value can be told: not in lists without keys.
One budget covers all rules of an object, whatever they are and however often they run.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shim import cel
from shim.api.status import FieldError
from shim.cel.tree import Ident
from shim.cel.values import MapList, SetList
from shim.resources.causes import shown
from shim.resources.custom.declare import declare
from shim.resources.custom.fieldpath import PathProblem, resolve
from shim.resources.custom.structure import Node, key_of

BUDGET = 10_000_000  # of all rules of an object, upstream's RuntimeCELCostBudget
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_MESSAGE_LIMIT = 5 * 1024
_REASONS = {"FieldValueRequired": "Required value", "FieldValueForbidden": "Forbidden"}
ABSENT: Any = object()


@dataclass(slots=True)
class Rule:
    """One rule, ready to run."""

    program: cel.Program
    message: cel.Program | None
    text: str
    """What is told of a broken rule."""
    name: str
    """How messages name the rule: its message, or its text."""
    reason: str
    path: str
    transition: bool
    optional: bool


@dataclass(slots=True)
class Place:
    """A place of a schema that has rules, or rules below it."""

    node: Node
    rules: tuple[Rule, ...]
    properties: dict[str, Place]
    items: Place | None
    additional: Place | None
    also: tuple[Place, ...]  # of allOf


def environments(self_type: cel.Type) -> tuple[cel.Environment, cel.Environment]:
    """For rules as they are, and for those with ``optionalOldSelf``."""
    plain = cel.Environment({"self": self_type, "oldSelf": self_type})
    return plain, cel.Environment({"self": self_type, "oldSelf": cel.optional_of(self_type)})


def mentions_old(program: cel.Program) -> bool:
    return any(name == "oldSelf" for node, name in program.checked.names.items() if isinstance(node, Ident))


def build(node: Node, *, root: bool = False, spine: Node | None = None) -> Place | None:
    """The rules of a schema and all below it; None where there are none. The schema has been judged already.

    ``spine`` is where the types stand, for conditions inside ``allOf``.
    """
    spine = spine or node
    rules: tuple[Rule, ...] = ()
    if node.validations and (declared := declare(spine, root=root or spine.embedded)):
        plain, optional = environments(declared.type)
        rules = tuple(
            _rule(each, optional if each.get("optionalOldSelf") else plain, spine) for each in node.validations
        )
    properties = {}
    for name, below in node.properties.items():
        if (typed := spine.properties.get(name)) and (place := build(below, spine=typed)):
            properties[name] = place
    items = build(node.items, spine=spine.items) if node.items and spine.items else None
    additional = build(node.additional, spine=spine.additional) if node.additional and spine.additional else None
    also = tuple(place for each in node.all_of if (place := build(each, root=root, spine=spine)))
    if rules or properties or items or additional or also:
        return Place(spine, rules, properties, items, additional, also)
    return None


def _rule(raw: Any, environment: cel.Environment, node: Node) -> Rule:
    program = environment.compile(raw["rule"], cel.BOOL)
    expression = raw.get("messageExpression")
    said, text = (raw.get("message") or "").strip(), raw["rule"].strip()
    path = ""
    if raw.get("fieldPath"):
        try:
            path = resolve(raw["fieldPath"], node).text
        except PathProblem:
            path = ""
    return Rule(
        program,
        environment.compile(expression, cel.STRING) if expression else None,
        said or f"failed rule: {text}",
        said or text,
        raw.get("reason") or "FieldValueInvalid",
        path,
        mentions_old(program),
        bool(raw.get("optionalOldSelf")),
    )


class Spent(Exception):
    """No further rules are run."""


class Impatient(Exception):
    """The rules cost more than whoever asked wants to wait for."""


def check(
    place: Place, value: Any, old: Any = ABSENT, *, root: bool = True, path: str = "", patience: float = math.inf
) -> list[FieldError]:
    """Every rule that ``value`` breaks; ``old`` is what it was before an update. Raises Impatient."""
    run = _Run(patience)
    try:
        run.place(place, value, old, path, root)
    except Spent:
        pass
    return run.found


class _Run:
    def __init__(self, patience: float) -> None:
        self.found: list[FieldError] = []
        self._budget: float = BUDGET
        self._least = BUDGET - patience
        """The budget that must be left, lest it takes too long."""

    def place(self, place: Place, value: Any, old: Any, path: str, root: bool = False) -> None:
        if value is None:
            return
        if place.rules:
            self._rules(place, value, old, path, root)
        for also in place.also:
            self.place(also, value, old, path, root)
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, item in value.items():
                then = before.get(name, ABSENT)
                if name in place.properties:
                    self.place(place.properties[name], item, then, f"{path}.{name}" if path else name)
                elif place.additional is not None and name not in place.node.properties:
                    self.place(place.additional, item, then, f"{path}[{name}]")
        elif isinstance(value, list) and place.items is not None:
            keys, items = place.node.list_keys, place.node.items
            known: dict[Any, Any] = {}
            if place.node.list_type == "map" and isinstance(old, list):
                known = {key_of(item, keys, items): item for item in old}
            for index, item in enumerate(value):
                then = known.get(key_of(item, keys, items), ABSENT) if known else ABSENT
                self.place(place.items, item, then, f"{path}[{index}]")

    def _rules(self, place: Place, value: Any, old: Any, path: str, root: bool) -> None:
        node = place.node
        unchanged = old is not ABSENT and old is not None and value == old
        is_root = root or node.embedded
        subject = to_cel(node, value, root=is_root)
        before = ABSENT if old is ABSENT or old is None else to_cel(node, old, root=is_root)
        for rule in place.rules:
            if rule.transition and before is ABSENT and not rule.optional:
                continue
            if unchanged and not rule.transition:
                continue  # it was there before; a rule that is new does not make an old object unchangeable
            variables = {"self": subject}
            if rule.optional:
                variables["oldSelf"] = cel.NONE if before is ABSENT else cel.Optional(True, before)
            elif before is not ABSENT:
                variables["oldSelf"] = before
            if not self._holds(rule, variables, node, path):
                self._complain(rule, variables, node, value, path)

    def _holds(self, rule: Rule, variables: dict[str, Any], node: Node, path: str) -> bool:
        try:
            result = rule.program.evaluate(variables, min(cel.CALL_LIMIT, self._budget - self._least))
        except cel.OverBudget as error:
            if self._budget - self._least < cel.CALL_LIMIT:
                raise Impatient from None
            text = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: "
            self._error(path, node, text + rule.name)
            raise Spent from None
        except cel.CelError as error:
            self._spend(getattr(error, "cost", 0), node, path)
            text = str(error)
            if text.startswith("no such overload"):
                why = "call arguments did not match a supported operator, function or macro signature for rule: "
                self._error(path, node, f"'{text}': {why}{rule.name}")
            else:
                self._error(path, node, f"{text} evaluating rule: {rule.name}")
            return True
        self._spend(result.cost, node, path)
        return result.value is True

    def _spend(self, cost: float, node: Node, path: str) -> None:
        self._budget -= cost
        if self._budget < self._least:
            raise Impatient
        if self._budget < 0:
            self._error(path, node, _OUT_OF_BUDGET)
            raise Spent

    def _error(self, path: str, node: Node, text: str) -> None:
        self.found.append(
            FieldError("FieldValueInvalid", path or "<nil>", f"Invalid value: {shown(node.type)}: {text}")
        )

    def _complain(self, rule: Rule, variables: dict[str, Any], node: Node, value: Any, path: str) -> None:
        detail = self._message(rule, variables) or rule.text
        place = path + (rule.path if path else rule.path.removeprefix(".")) if rule.path else path
        quoted = "" if node.type in ("object", "array") else shown(value)
        if rule.reason in _REASONS:
            text = f"{_REASONS[rule.reason]}: {detail}"
        elif rule.reason == "FieldValueDuplicate":
            text = f"Duplicate value: {quoted}" if quoted else "Duplicate value"
        else:
            text = f"Invalid value: {quoted}: {detail}" if quoted else f"Invalid value: {detail}"
        self.found.append(FieldError(rule.reason, place or "<nil>", text))

    def _message(self, rule: Rule, variables: dict[str, Any]) -> str:
        """What a rule's messageExpression says; nothing where it fails or says what is no message."""
        if rule.message is None:
            return ""
        try:
            result = rule.message.evaluate(variables, min(cel.CALL_LIMIT, self._budget))
        except cel.CelError:
            return ""
        self._budget -= result.cost
        text = result.value
        if not isinstance(text, str) or "\n" in text or len(text.encode()) > _MESSAGE_LIMIT:
            return ""
        return text.strip()


# --- data as expressions see it ---------------------------------------------------------------------------------------


def to_cel(node: Node | None, value: Any, *, root: bool = False) -> Any:
    """JSON as values of the schema's types; what needs no change is shared."""
    if node is None or value is None:
        return value
    if value.__class__ is dict:
        if node.type != "object" and not root:
            return value
        return {name: to_cel(below, item) for name, item, below in _seen(node, value)}
    if value.__class__ is list:
        items = [to_cel(node.items, item) for item in value]
        if node.list_type == "set":
            return SetList(items)
        return MapList(items, node.list_keys) if node.list_type == "map" else items
    if value.__class__ is int:
        return float(value) if node.type == "number" else value
    if value.__class__ is float:
        return int(value) if node.type == "integer" and value.is_integer() else value
    if value.__class__ is str and node.type == "string":
        return _text(node.raw.get("format"), value)
    return value


def _seen(node: Node, value: dict[str, Any]) -> Iterator[tuple[str, Any, Node | None]]:
    for name, item in value.items():
        below = node.child(name)
        if item is not None or (below is not None and below.nullable):
            yield name, item, below


def _text(format: str | None, text: str) -> Any:
    try:
        if format == "byte":
            return base64.b64decode(text, validate=True)
        if format == "duration":
            return cel.parse_duration(text)
        if format == "date-time":
            return cel.parse_timestamp(text)
        if format == "date":
            return cel.parse_timestamp(f"{text}T00:00:00Z")
    except (ValueError, binascii.Error):
        return cel.CelError(f"invalid {format} {text!r}")
    return text
