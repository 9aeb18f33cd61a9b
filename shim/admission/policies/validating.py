"""ValidatingAdmissionPolicies in the chain: what they find wrong is refused, warned of, or told to the audit log."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from shim.admission.conditions import ConditionError, hold, patiently
from shim.admission.matching import is_exempt
from shim.admission.policies.compiled import (
    SECONDS,
    Binding,
    Compiled,
    EvaluationError,
    OutOfBudget,
    Policy,
    Run,
    Validation,
)
from shim.admission.policies.invocation import ConfigurationError, invocations
from shim.admission.request import Plugin, Reader, Request, refuse
from shim.api.meta import GVR
from shim.api.status import ApiError
from shim.api.timing import Histograms

_GROUP = "admissionregistration.k8s.io"
POLICIES = GVR(_GROUP, "v1", "validatingadmissionpolicies", namespaced=False)
BINDINGS = GVR(_GROUP, "v1", "validatingadmissionpolicybindings", namespaced=False)
CODES = {"Invalid": 422, "Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
_LONGEST_VALUE = 10 * 1024
_LONGEST_MESSAGE = 5 * 1024


@dataclass(frozen=True, slots=True)
class Denial:
    policy: str
    binding: str
    message: str
    reason: str = "Invalid"

    def __str__(self) -> str:
        by = f" with binding '{self.binding}'" if self.binding else ""
        return f"ValidatingAdmissionPolicy '{self.policy}'{by} denied request: {self.message}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a policy found wrong; ``index`` of the validation."""

    index: int
    message: str
    reason: str = "Invalid"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of a request."""

    findings: list[Finding]
    notes: list[tuple[str, str]] = field(default_factory=list)
    """For the audit log, each with its key."""
    mistakes: list[str] = field(default_factory=list)
    """Why notes could not be made."""


class ValidatingAdmissionPolicy(Plugin):
    def __init__(self) -> None:
        self._compiled = Compiled()
        self._checks: Counter[tuple[str, ...]] = Counter()
        self._took = Histograms(SECONDS)
        self.counts = {"apiserver_validating_admission_policy_check": self._checks}
        self.durations = {"apiserver_validating_admission_policy_check_duration_seconds": self._took}

    async def validate(self, request: Request, reader: Reader) -> None:
        policies = reader.list(POLICIES)
        if not policies or is_exempt(request):
            return
        bindings = self._compiled.bindings(reader.list(BINDINGS))
        denials: list[Denial] = []
        told: dict[str, list[str]] = {}
        for each in invocations(request, self._compiled.policies(policies), bindings, reader):
            if isinstance(each, ConfigurationError):
                if not each.policy.may_fail:
                    denials.append(Denial(each.policy.name, each.binding.name if each.binding else "", str(each)))
                continue
            began, acted = time.perf_counter(), set[str]()
            verdict = await patiently(partial(_ask, each.policy, each.values(request, reader)))
            if verdict is not None:
                denials += _act(verdict.findings, each.policy, each.binding, request, acted)
                denials += [Denial(each.policy.name, each.binding.name, text) for text in verdict.mistakes]
                for key, text in verdict.notes:
                    known = told.setdefault(key, [])
                    if text not in known:
                        known.append(text)
            error = "compile_error" if each.policy.problem else "no_error"
            for action in acted or ("allow",):
                labels = (each.policy.name, each.binding.name, error, action.lower())
                self._checks[labels] += 1
                self._took[labels].add(time.perf_counter() - began)
        for key, values in told.items():
            request.annotations[key] = ", ".join(values)
        if denials:
            raise _refusal(request, denials[0])


def _refusal(request: Request, denial: Denial) -> ApiError:
    text = str(denial)
    error = refuse(request, text)
    details: dict[str, Any] = {**(error.details or {}), "causes": [{"message": text}]}
    return ApiError(CODES.get(denial.reason, 422), denial.reason, error.message, details)


def _ask(policy: Policy, values: dict[str, Any], patience: float) -> Verdict | None:
    """What one policy says; None where it has nothing to say of such a request. Raises Impatient."""
    try:
        if policy.problem:
            raise EvaluationError(policy.problem)
        environment = policy.environments.conditions
        if policy.conditions and not hold(policy.conditions, environment, values, patience):
            return None
    except (ConditionError, EvaluationError) as error:
        return Verdict([] if policy.may_fail else [Finding(0, str(error))])
    run = Run(policy, values, patience)
    try:
        found = [_finding(index, validation, run, policy) for index, validation in enumerate(policy.validations)]
        verdict = Verdict([finding for finding in found if finding is not None])
    except OutOfBudget as error:
        verdict = Verdict([] if policy.may_fail else [Finding(0, str(error))])
    annotating = Run(policy, values, patience)
    for key, program in policy.annotations:
        try:
            value = annotating.evaluate(program)
        except (EvaluationError, OutOfBudget) as error:
            if not policy.may_fail:
                verdict.mistakes.append(str(error))
            continue
        if isinstance(value, str) and (text := value.strip()[:_LONGEST_VALUE]):
            verdict.notes.append((f"{policy.name}/{key}", text))
    return verdict


def _finding(index: int, validation: Validation, run: Run, policy: Policy) -> Finding | None:
    try:
        if run.evaluate(validation.program) is True:
            return None
    except EvaluationError as error:
        return None if policy.may_fail else Finding(index, str(error))
    return Finding(index, _message(validation, run) or validation.text, validation.reason)


def _message(validation: Validation, run: Run) -> str:
    """What the messageExpression says; nothing where it fails, or says what is no message."""
    if validation.message is None:
        return ""
    try:
        text = run.evaluate(validation.message)
    except (EvaluationError, OutOfBudget):
        return ""
    if not isinstance(text, str) or len(text.strip().encode()) > _LONGEST_MESSAGE or "\n" in text.strip():
        return ""
    return text.strip()


def _act(found: list[Finding], policy: Policy, binding: Binding, request: Request, acted: set[str]) -> list[Denial]:
    """Do with findings what the binding wants; returns those that refuse the request."""
    denials = []
    for finding in found:
        for action in binding.actions:
            acted.add(action)
            if action == "Deny":
                denials.append(Denial(policy.name, binding.name, finding.message, finding.reason))
            elif action == "Warn":
                request.warnings.append(
                    f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding "
                    f"'{binding.name}': {finding.message}"
                )
            else:
                said = {
                    "message": finding.message,
                    "policy": policy.name,
                    "binding": binding.name,
                    "expressionIndex": finding.index,
                    "validationActions": list(binding.actions),
                }
                request.annotations.setdefault(_FAILURE, orjson.dumps([said]).decode())  # the first one stays
    return denials
