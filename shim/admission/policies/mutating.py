"""MutatingAdmissionPolicies in the chain: apply configurations and JSON patches, made by expressions."""

from __future__ import annotations

import copy
import time
from collections import Counter
from typing import Any

from shim import cel
from shim.admission.conditions import ConditionError, hold
from shim.admission.matching import converted, converted_back, is_exempt
from shim.admission.policies.compiled import SECONDS, Compiled, EvaluationError, Mutation, Run
from shim.admission.policies.invocation import ConfigurationError, Invocation, invocations
from shim.admission.request import Plugin, Reader, Reinvocation, Request, refuse
from shim.api import jsonpatch, structured
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


class MutatingAdmissionPolicy(Plugin):
    """Each policy sees what the last has made; when one changed the object, those before it that wish run once more."""

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
        denials: list[str] = []
        for each in invocations(request, self._compiled.policies(policies), bindings, reader):
            policy, binding = each.policy, each.binding
            by = f"policy '{policy.name}' with binding '{binding.name}'" if binding else f'policy "{policy.name}"'
            began, outcome = time.perf_counter(), "no_error"
            try:
                if isinstance(each, ConfigurationError):
                    raise Denied(str(each))
                if state.round and each.key not in state.due:
                    continue
                if _change(each, request, reader):
                    state.ask_again()
                    state.wanted = True
                if policy.may_run_again:
                    state.asked.add(each.key)
            except (Denied, EvaluationError, ConditionError) as error:
                outcome = "compile_error" if policy.problem else "invalid_error"
                if not policy.may_fail:
                    denials.append(f"{by} denied request: {error}")
            labels = (policy.name, binding.name if binding else "", outcome)
            self._checks[labels] += 1
            self._took[labels].add(time.perf_counter() - began)
        if denials:
            raise _refusal(request, denials)


def _refusal(request: Request, denials: list[str]) -> ApiError:
    error = refuse(request, "admission request denied by policy")
    causes = [{"message": text} for text in denials]
    return ApiError(403, "Forbidden", denials[0], {**(error.details or {}), "causes": causes})


def _change(each: Invocation, request: Request, reader: Reader) -> bool:
    """Run a policy's mutations; whether they changed anything. Raises Denied, EvaluationError, ConditionError."""
    policy, changed = each.policy, False
    if policy.problem:
        raise Denied(policy.problem)
    values = each.values(request, reader)
    if policy.conditions and not hold(policy.conditions, lambda: values, policy.environments.conditions):
        return False
    for mutation in policy.mutations:
        values = each.values(request, reader)
        before: Object = converted(request.obj, request, each.match) or {}
        made = Run(policy, values).evaluate(mutation.program)
        kind, api_version = before.get("kind") or each.match.kind.kind, before.get("apiVersion") or ""
        new = _patched(mutation, before, made, reader.type_of(api_version, kind))
        new = reader.conform(new, kind, api_version)
        if each.match.kind.kind == each.match.resource.kind:
            each.match.resource.strategy.default(new)
        if new != before:
            request.replace(converted_back(new, request, each.match))
            changed = True
    return changed


def _patched(mutation: Mutation, before: Object, made: Any, type: Type) -> Object:
    if mutation.is_patch:
        operations = [plain(operation) for operation in made]
        try:
            new: Object = jsonpatch.apply(copy.deepcopy(before), jsonpatch.read(operations))
        except jsonpatch.PatchError as error:
            raise Denied(f"JSON Patch: {error}") from None
        return new
    _check_names(made, _OBJECT)
    wanted = {**plain(made), "kind": before.get("kind"), "apiVersion": before.get("apiVersion")}
    try:
        structured.check(type, wanted)
    except structured.InvalidValue as error:
        raise Denied(f"error applying patch: failed to convert patch object to typed object: {error}") from None
    if atomic := list(_atomics(type, wanted, "")):
        text = f"may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        raise Denied(f"error applying patch: invalid ApplyConfiguration: {text}")
    merged: Object = structured.merge(type, before, wanted)
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
