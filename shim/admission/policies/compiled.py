"""A policy ready to run: its expressions compiled, read once per policy and revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from shim import cel
from shim.admission.conditions import Condition, Impatient, conditions_of
from shim.api import selectors
from shim.api.meta import Object
from shim.api.selectors import Selector
from shim.cel.policies import JSON_PATCH, OBJECT_TYPE, PolicyEnvironments

T = TypeVar("T")
BUDGET = 10_000_000  # of all expressions of a policy for one request, upstream's RuntimeCELCostBudget
SECONDS = (0.0000005, 0.001, 0.01, 0.1, 1.0)  # how long a policy may take, in upstream's steps
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class EvaluationError(Exception):
    """An expression without a value; the text is upstream's."""


class OutOfBudget(Exception):
    """A policy's expressions cost too much together: it has nothing to say but that."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


@dataclass(frozen=True, slots=True)
class Constraints:
    """Which requests are meant (``MatchResources``). Without rules, as bindings may be: all."""

    rules: tuple[Object, ...]
    excluded: tuple[Object, ...]
    namespaces: Selector
    objects: Selector
    equivalent: bool

    @classmethod
    def of(cls, match: Object | None) -> Constraints:
        match = match or {}
        return cls(
            tuple(match.get("resourceRules") or ()),
            tuple(match.get("excludeResourceRules") or ()),
            selectors.from_object(match.get("namespaceSelector") or {}),
            selectors.from_object(match.get("objectSelector") or {}),
            match.get("matchPolicy", "Equivalent") == "Equivalent",
        )


@dataclass(frozen=True, slots=True)
class Validation:
    program: cel.Program
    message: cel.Program | None
    text: str
    """What is told where no expression makes a message."""
    reason: str


@dataclass(frozen=True, slots=True)
class Mutation:
    program: cel.Program
    is_patch: bool  # a JSON patch, or an apply configuration


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. ``problem`` says why it cannot run, where an old one cannot be compiled any more."""

    name: str
    constraints: Constraints
    conditions: tuple[Condition, ...]
    environments: PolicyEnvironments
    may_fail: bool
    param_kind: Object | None
    variables: tuple[tuple[str, cel.Program], ...]
    validations: tuple[Validation, ...]
    annotations: tuple[tuple[str, cel.Program], ...]
    mutations: tuple[Mutation, ...]
    may_run_again: bool
    problem: str


@dataclass(frozen=True, slots=True)
class Binding:
    name: str
    policy: str
    constraints: Constraints
    param_ref: Object | None
    actions: tuple[str, ...]


class Compiled:
    """Policies and bindings as they were last read."""

    def __init__(self) -> None:
        self._policies: dict[str, tuple[str, Policy]] = {}
        self._bindings: dict[str, tuple[str, Binding]] = {}

    def policies(self, objects: Iterable[Object]) -> list[Policy]:
        """In the order of their names; what is known of others is forgotten."""
        self._policies = _kept(self._policies, objects, compile)
        return [policy for _, policy in self._policies.values()]

    def bindings(self, objects: Iterable[Object]) -> list[Binding]:
        self._bindings = _kept(self._bindings, objects, _binding)
        return [binding for _, binding in self._bindings.values()]


def _kept(
    known: Mapping[str, tuple[str, T]], objects: Iterable[Object], make: Callable[[Object], T]
) -> dict[str, tuple[str, T]]:
    """What these objects make, with their revisions: made anew only of those that have changed."""
    found = {}
    for obj in sorted(objects, key=_name):
        uid, revision = _state(obj)
        before = known.get(uid)
        found[uid] = before if before is not None and before[0] == revision else (revision, make(obj))
    return found


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _state(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("uid") or metadata["name"], metadata.get("resourceVersion") or ""


def _binding(obj: Object) -> Binding:
    spec = obj["spec"]
    return Binding(
        obj["metadata"]["name"],
        spec.get("policyName") or "",
        Constraints.of(spec.get("matchResources")),
        spec.get("paramRef"),
        tuple(spec.get("validationActions") or ()),
    )


def compile(obj: Object) -> Policy:
    """One policy of either kind."""
    spec = obj["spec"]
    environments = PolicyEnvironments(spec, patching="mutations" in spec)
    variables: list[tuple[str, cel.Program]] = []
    validations: list[Validation] = []
    annotations: list[tuple[str, cel.Program]] = []
    mutations: list[Mutation] = []
    problem = ""
    try:
        for each in spec.get("variables") or ():
            variables.append((each["name"], environments.add(each["name"], each["expression"])))
        validations += [_validation(each, environments) for each in spec.get("validations") or ()]
        for each in spec.get("auditAnnotations") or ():
            program = environments.validations.compile(each["valueExpression"].strip(), cel.STRING, cel.NULL)
            annotations.append((each["key"], program))
        mutations += [_mutation(each, environments) for each in spec.get("mutations") or ()]
    except cel.CompileError as error:
        problem = error.told
    return Policy(
        obj["metadata"]["name"],
        Constraints.of(spec.get("matchConstraints")),
        conditions_of(spec),
        environments,
        spec.get("failurePolicy") == "Ignore",
        spec.get("paramKind"),
        tuple(variables),
        tuple(validations),
        tuple(annotations),
        tuple(mutations),
        spec.get("reinvocationPolicy") == "IfNeeded",
        problem,
    )


def _validation(raw: Object, environments: PolicyEnvironments) -> Validation:
    told = (raw.get("messageExpression") or "").strip()
    expression = raw["expression"]
    return Validation(
        environments.validations.compile(expression, cel.BOOL),
        environments.messages.compile(told, cel.STRING) if told else None,
        (raw.get("message") or "").strip() or f"failed expression: {expression.strip()}",
        raw.get("reason") or "Invalid",
    )


def _mutation(raw: Object, environments: PolicyEnvironments) -> Mutation:
    is_patch = raw["patchType"] == "JSONPatch"
    text = raw["jsonPatch" if is_patch else "applyConfiguration"]["expression"].strip()
    wanted = cel.list_of(JSON_PATCH) if is_patch else OBJECT_TYPE
    return Mutation(environments.validations.compile(text, wanted), is_patch)


class Run:
    """The expressions of one policy for one request: one budget, and variables that are made when they are read.

    What costs more than ``patience`` raises Impatient.
    """

    def __init__(self, policy: Policy, values: dict[str, Any], patience: float) -> None:
        self._left, self._least = float(BUDGET), BUDGET - patience
        self._values = {**values, "variables": _Variables(policy.variables, values, self)}

    def evaluate(self, program: cel.Program) -> Any:
        """Raises EvaluationError and OutOfBudget."""
        try:
            result = self.run(program, self._values)
        except cel.CelError as error:
            self.spend(getattr(error, "cost", 0.0))
            raise EvaluationError(f"expression '{program.text}' resulted in error: {error}") from None
        self.spend(result.cost)
        return result.value

    def run(self, program: cel.Program, values: dict[str, Any]) -> cel.Result:
        """Raises CelError, and Impatient when it goes on for too long."""
        limit = min(cel.CALL_LIMIT, self._left - self._least)
        try:
            return program.evaluate(values, limit)
        except cel.OverBudget:
            if limit < cel.CALL_LIMIT:
                raise Impatient from None
            raise

    def spend(self, cost: float) -> None:
        self._left -= cost
        if self._left < self._least:
            raise Impatient
        if self._left < 0:
            raise OutOfBudget


class _Variables(dict[str, Any]):
    """``variables``: each is evaluated when it is first read."""

    def __init__(self, programs: tuple[tuple[str, cel.Program], ...], values: dict[str, Any], run: Run) -> None:
        super().__init__()
        self._programs = dict(programs)
        self._values, self._run = {**values, "variables": self}, run

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def __missing__(self, name: str) -> Any:
        try:
            result = self._run.run(self._programs[name], self._values)
        except cel.CelError as error:
            raise cel.CelError(f'composited variable "{name}" fails to evaluate: {error}') from None
        self._run.spend(result.cost)
        self[name] = result.value
        return result.value
