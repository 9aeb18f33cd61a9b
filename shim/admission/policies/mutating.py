"""MutatingAdmissionPolicies in the chain: apply configurations and JSON patches, made by expressions."""

from __future__ import annotations

import copy
import time
from collections import Counter
from functools import partial
from typing import Any, NamedTuple

from shim import cel
from shim.admission.conditions import ConditionError, hold, patiently
from shim.admission.matching import converted, converted_back, is_exempt
from shim.admission.policies.compiled import SECONDS, Compiled, EvaluationError, Mutation, OutOfBudget, Run
from shim.admission.policies.invocation import ConfigurationError, Invocation, invocations
from shim.admission.request import Plugin, Reader, Reinvocation, Request, refuse
from shim.api import jsonpatch, structured, structured_check, structured_merge
from shim.api.meta import GVR, Object
from shim.api.schema import Type
from shim.api.status import ApiError
from shim.api.timing import Histograms

_GROUP = "admissionregistration.k8s.io"
POLICIES = GVR(_GROUP, "v1", "mutatingadmissionpolicies", namespaced=False)
BINDINGS = GVR(_GROUP, "v1", "mutatingadmissionpolicybindings", namespaced=False)
_OBJECT = "Object"


class Denied(Exception):
    """A policy could not do its work."""


class Denial(NamedTuple):
    message: str
    reason: str = "Invalid"


class MutatingAdmissionPolicy(Plugin):
    """Each policy sees what the last has made; when one changed the object, those before it that wish run once more.

    Which policies are meant is told by the object as it came.
    """

    def __init__(self) -> None:
        self._compiled = Compiled()
        self._checks: Counter[tuple[str, ...]] = Counter()
        self._took = Histograms(SECONDS)
        self.counts = {"apiserver_mutating_admission_policy_check": self._checks}
        self.durations = {"apiserver_mutating_admission_policy_check_duration_seconds": self._took}

    async def mutate(self, request: Request, reader: Reader) -> None:
        policies = reader.list(POLICIES)
        if not policies or request.obj is None or is_exempt(request):
            return
        bindings = self._compiled.bindings(reader.list(BINDINGS))
        state = request.reinvocation = request.reinvocation or Reinvocation()
        denials: list[Denial] = []
        ready: list[Invocation] = []
        for each in invocations(request, self._compiled.policies(policies), bindings, reader):
            if isinstance(each, Invocation):
                ready.append(each)
            elif not each.policy.may_fail:
                denials.append(Denial(f"{_by(each)} denied request: {each}", "Forbidden"))
        for each in ready:
            if state.round and each.key not in state.due:
                continue
            began, problems = time.perf_counter(), list[str]()
            if await _change(each, request, reader, problems):
                state.ask_again()
                state.wanted = True
            if each.policy.may_run_again:
                state.asked.add(each.key)
            if not each.policy.may_fail:
                denials += [Denial(f"{_by(each)} denied request: {problem}") for problem in problems]
            outcome = "compile_error" if each.policy.problem else "invalid_error" if problems else "no_error"
            labels = (each.policy.name, each.binding.name, outcome)
            self._checks[labels] += 1
            self._took[labels].add(time.perf_counter() - began)
        if denials:
            raise _refusal(request, denials)


def _by(each: Invocation | ConfigurationError) -> str:
    """Whose denial it is."""
    policy, binding = each.policy, each.binding
    return f"policy '{policy.name}' with binding '{binding.name}'" if binding else f'policy "{policy.name}"'


def _refusal(request: Request, denials: list[Denial]) -> ApiError:
    """The code is that of a forbidden request, whatever the reason: upstream's odd pair."""
    details = refuse(request, "").details or {}
    causes = [{"message": denial.message} for denial in denials]
    return ApiError(403, denials[0].reason, denials[0].message, {**details, "causes": causes})


async def _change(each: Invocation, request: Request, reader: Reader, problems: list[str]) -> bool:
    """Run a policy's mutations, each whatever the last came to; whether they changed anything."""
    policy, changed = each.policy, False
    if policy.problem:
        problems.append(policy.problem)
        return False
    if policy.conditions:
        environment, values = policy.environments.conditions, each.values(request, reader)
        try:
            if not await patiently(partial(hold, policy.conditions, environment, values)):
                return False
        except ConditionError as error:
            problems.append(str(error))
            return False
    for mutation in policy.mutations:
        try:
            changed |= await _mutate(mutation, each, request, reader)
        except (Denied, EvaluationError, OutOfBudget) as error:
            problems.append(str(error))
    return changed


async def _mutate(mutation: Mutation, each: Invocation, request: Request, reader: Reader) -> bool:
    """Whether one mutation changed the object. Raises Denied, EvaluationError, and ApiError for what is no object."""
    row, kind = each.match.resource, each.match.kind.kind
    before: Object = converted(request.obj, request, each.match) or {}
    values = each.values(request, reader)
    kind, api_version = before.get("kind") or kind, before.get("apiVersion") or ""
    type = reader.type_of(api_version, kind)

    def made(patience: float) -> Object:
        return _patched(mutation, before, Run(each.policy, values, patience).evaluate(mutation.program), type)

    new = await patiently(made)
    if new is before:
        return False
    new = reader.conform(new, kind, api_version, strict=not row.custom)
    if each.match.kind.kind == row.kind:
        row.strategy.default(new)
    if new == before:
        return False
    request.replace(converted_back(new, request, each.match))
    return True


def _patched(mutation: Mutation, before: Object, made: Any, type: Type) -> Object:
    if mutation.is_patch:
        operations = [plain(operation) for operation in made]
        try:
            new: Object = jsonpatch.apply(copy.deepcopy(before), jsonpatch.read(operations))
        except jsonpatch.TestFailed:
            return before
        except jsonpatch.PatchError as error:
            raise Denied(f"JSON Patch: {error}") from None
        return new
    _check_names(made, _OBJECT)
    wanted = {**plain(made), "kind": before.get("kind"), "apiVersion": before.get("apiVersion")}
    try:
        structured_check.check(type, wanted)
    except structured.InvalidValue as error:
        raise Denied(f"error applying patch: failed to convert patch object to typed object: {error}") from None
    if atomic := list(_atomics(type, wanted, "")):
        text = f"may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        raise Denied(f"error applying patch: invalid ApplyConfiguration: {text}")
    merged: Object = structured_merge.merge(type, before, wanted)
    return copy.deepcopy(merged)


def _check_names(value: Any, path: str) -> None:
    """An object is named by where it stands. Raises Denied."""
    if isinstance(value, cel.Struct):
        if path != value.TYPE:
            why = "which matches field name path from root Object type"
            raise Denied(f'type mismatch: unexpected type name "{value.TYPE}", expected "{path}", {why}')
        for name, each in value.items():
            _check_names(each, f"{path}.{name}")
    elif isinstance(value, list):
        for each in value:
            _check_names(each, path)
    elif isinstance(value, dict):
        for each in value.values():
            _check_names(each, path)


def _atomics(type: Type, value: Any, path: str) -> Any:
    """The places where a configuration would replace a whole it shows only a part of."""
    if isinstance(value, dict):
        if type.atomic and type.kind in ("struct", "map"):
            yield path
        elif type.kind in ("struct", "map"):
            for name, each in value.items():
                yield from _atomics(structured.child(type, name), each, f"{path}.{name}")
    elif isinstance(value, list) and type.kind == "list":
        if type.list_type not in ("map", "set"):
            yield path
        elif type.element is not None:
            for each in value:
                yield from _atomics(type.element, each, path)


def plain(value: Any) -> Any:
    """What an expression has made, as JSON."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, cel.Optional):
        return plain(value.held) if value.present else None
    if isinstance(value, bool | str | float) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        raise Denied("unsupported type: bytes")
    return str(value)
