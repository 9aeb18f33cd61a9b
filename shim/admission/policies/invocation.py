"""Which policies mean a request, by which binding, and with which parameters?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shim.admission.conditions import variables_of
from shim.admission.matching import NAMESPACES, Match, in_namespace, match, selects_object
from shim.admission.policies.compiled import Binding, Constraints, Policy
from shim.admission.request import Reader, Request
from shim.api import selectors
from shim.api.meta import GVR, Object
from shim.api.status import ApiError


class ConfigurationError(Exception):
    """A policy or binding that cannot be asked; ``binding`` is None where it is the policy itself."""

    def __init__(self, why: str, policy: Policy, binding: Binding | None) -> None:
        what = "policy" if binding is None else "binding"
        super().__init__(f"failed to configure {what}: {why}")
        self.policy, self.binding = policy, binding


@dataclass(frozen=True, slots=True)
class Invocation:
    """One policy, to be asked of a request once."""

    policy: Policy
    binding: Binding
    match: Match
    params: Object | None

    @property
    def key(self) -> str:
        name = (self.params or {}).get("metadata", {}).get("name", "")
        return f"policy/{self.policy.name}/{self.binding.name}/{name}"

    def values(self, request: Request, reader: Reader) -> dict[str, Any]:
        """The variables of its expressions."""
        found = variables_of(request, self.match, reader)
        found["params"] = self.params
        # its times are texts, whatever expressions are compiled for: so upstream has it
        found["namespaceObject"] = reader.get(NAMESPACES, None, request.namespace) if request.namespace else None
        return found


def invocations(
    request: Request, policies: Iterable[Policy], bindings: list[Binding], reader: Reader
) -> Iterator[Invocation | ConfigurationError]:
    """What is to be asked, in order, and what cannot be."""
    for policy in policies:
        own = [binding for binding in bindings if binding.policy == policy.name]
        kind = policy.param_kind
        parameters = reader.resource_of(kind["apiVersion"], kind["kind"]) if kind else None
        problem = _unknown_kind(kind) if kind and parameters is None else ""
        try:
            found = _matches(request, policy.constraints, reader) if own or problem else None
        except ApiError as error:
            yield ConfigurationError(error.message, policy, None)
            continue
        if found is None:
            continue
        if problem:
            yield ConfigurationError(problem, policy, None)
            continue
        for binding in own:
            try:
                if not _binds(request, binding.constraints, reader):
                    continue
                params = _params(request, parameters, binding, reader)
            except (ApiError, _Unusable) as error:
                yield ConfigurationError(str(error), policy, binding)
                continue
            for each in params:
                yield Invocation(policy, binding, found, each)


def _matches(request: Request, constraints: Constraints, reader: Reader) -> Match | None:
    if not selects_object(request, constraints.objects):
        return None
    if any(_named(rule, request, reader, constraints) for rule in constraints.excluded):
        return None
    rules = [rule for rule in constraints.rules if _has_name(rule, request)]
    found = match(request, rules, reader, equivalent=constraints.equivalent)
    if found is None or not in_namespace(request, constraints.namespaces, reader):
        return None
    return found


def _binds(request: Request, constraints: Constraints, reader: Reader) -> bool:
    """Whether a binding means the request too; one without rules means all its policy does."""
    if constraints.rules:
        return _matches(request, constraints, reader) is not None
    if not selects_object(request, constraints.objects) or not in_namespace(request, constraints.namespaces, reader):
        return False
    return not any(_named(rule, request, reader, constraints) for rule in constraints.excluded)


def _named(rule: Object, request: Request, reader: Reader, constraints: Constraints) -> bool:
    return _has_name(rule, request) and match(request, [rule], reader, equivalent=constraints.equivalent) is not None


def _has_name(rule: Object, request: Request) -> bool:
    names = rule.get("resourceNames")
    return not names or request.name in names


# --- parameters -------------------------------------------------------------------------------------------------------


class _Unusable(Exception):
    """Parameters that cannot be had; the text is upstream's."""


def _unknown_kind(kind: Object) -> str:
    return f"failed to find resource referenced by paramKind: '{kind['apiVersion']}, Kind={kind['kind']}'"


def _params(request: Request, gvr: GVR | None, binding: Binding, reader: Reader) -> list[Object | None]:
    ref = binding.param_ref
    if gvr is None or ref is None:
        return [None]
    namespace: str | None = None
    if gvr.namespaced:
        namespace = ref.get("namespace") or request.namespace
        if not namespace:
            raise _Unusable("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    elif ref.get("namespace"):
        raise _Unusable("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    found: list[Object | None]
    if name := ref.get("name"):
        one = reader.get(gvr, namespace, name)
        found = [] if one is None else [one]
    else:
        selector = selectors.from_object(ref.get("selector") or {})
        found = [each for each in reader.list(gvr, namespace) if selector.matches(each["metadata"].get("labels") or {})]
    if not found and ref.get("parameterNotFoundAction") == "Deny":
        raise _Unusable("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found
