"""Admission policies and their bindings: defaults, and every reason why one is refused."""

from __future__ import annotations

import re
from typing import Any

from shim import cel
from shim.api import jsonpath, names
from shim.api.meta import Object, split_api_version
from shim.api.status import FieldError
from shim.cel.policies import JSON_PATCH, OBJECT_TYPE, PolicyEnvironments
from shim.resources.causes import (
    conditions,
    duplicate,
    forbidden,
    invalid,
    label_selector,
    named,
    one_of,
    required,
    unsupported,
)
from shim.resources.expressions import complaints, uncompiled
from shim.resources.metadata import path_segment
from shim.resources.strategy import Check, Strategy
from shim.resources.webhook_rules import match_conditions, rule_with_operations

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")
_MUTABLE = ("*", "CONNECT", "CREATE", "UPDATE")
_MOST_ANNOTATIONS, _LONGEST_VALUE = 20, 5 * 1024
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    "true false null in as break const continue else for function if import let loop package namespace return var "
    "void while".split()
)


def _fill(obj: Object, **values: Any) -> None:
    for field, value in values.items():
        if obj.get(field) is None:
            obj[field] = value


def _default_match(match: Object | None) -> None:
    if match is None:
        return
    _fill(match, matchPolicy="Equivalent", namespaceSelector={}, objectSelector={})
    for field in ("resourceRules", "excludeResourceRules"):
        for rule in match.get(field) or ():
            _fill(rule, scope="*")


class PolicyStrategy(Strategy):
    """ValidatingAdmissionPolicies, whose status tells of type checking, and MutatingAdmissionPolicies."""

    status_resets = ("spec", "metadata")
    any_finalizer = True
    allow_unconditional_update = False
    update_checks = (Check.METADATA, Check.BODY)

    def __init__(self, *, mutating: bool) -> None:
        self.mutating = mutating
        self.has_status = not mutating

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        _fill(spec, failurePolicy="Fail")
        _default_match(spec.get("matchConstraints"))

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.validate_status(new, old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        causes: list[FieldError] = []
        for index, warning in enumerate((status.get("typeChecking") or {}).get("expressionWarnings") or ()):
            at = f"status.typeChecking.expressionWarnings[{index}]"
            causes += [] if warning.get("warning") else [required(f"{at}.warning")]
            causes += _field_path(f"{at}.fieldRef", (warning.get("fieldRef") or "").strip())
        return causes + conditions("status.conditions", status.get("conditions") or ())

    def validate_body(self, obj: Object) -> list[FieldError]:
        return (_mutating if self.mutating else _validating)(obj)


def _field_path(at: str, path: str) -> list[FieldError]:
    if not path:
        return [required(at)]
    try:
        jsonpath.parse(f".{path}" if path[0].isalpha() else path)  # "spec.validations[0].expression" is one
    except jsonpath.PathError as error:
        return [invalid(at, path, f"invalid JSONPath: {error}")]
    return []


class BindingStrategy(Strategy):
    """Where, and with which parameters, a policy holds."""

    any_finalizer = True
    allow_unconditional_update = False
    update_checks = (Check.METADATA, Check.BODY)

    def __init__(self, *, mutating: bool) -> None:
        self.mutating = mutating

    def default(self, obj: Object) -> None:
        _default_match(obj.setdefault("spec", {}).get("matchResources"))

    def validate_body(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        name = spec.get("policyName") or ""
        at = "spec.policyName"
        causes = named(at, name, names.dns1123_subdomain) if name else [required(at)]
        causes += _param_ref(spec.get("paramRef"))
        causes += _match("spec.matchResources", spec.get("matchResources"))
        if not self.mutating:
            return causes + _actions(spec.get("validationActions") or [])
        return causes + _only_mutable("spec.matchResources", spec.get("matchResources") or {})


# --- what both kinds of policies say ----------------------------------------------------------------------------------


def _common(spec: Object, *, mutating: bool) -> tuple[list[FieldError], PolicyEnvironments]:
    causes = one_of("spec.failurePolicy", spec.get("failurePolicy"), ("Fail", "Ignore"))
    if spec.get("paramKind") is not None:
        causes += _param_kind(spec["paramKind"])
    constraints = spec.get("matchConstraints")
    if constraints is None:
        causes.append(required("spec.matchConstraints"))
    else:
        causes += _match("spec.matchConstraints", constraints)
        if not constraints.get("resourceRules"):
            causes.append(required("spec.matchConstraints.resourceRules"))
        if mutating:
            causes += _only_mutable("spec.matchConstraints", constraints)
    environments = PolicyEnvironments(spec, patching=mutating)
    causes += match_conditions("spec.matchConditions", spec.get("matchConditions") or [], environments.conditions)
    for index, variable in enumerate(spec.get("variables") or ()):
        causes += _variable(f"spec.variables[{index}]", variable, environments)
    return causes, environments


def _param_kind(kind: Object) -> list[FieldError]:
    at = "spec.paramKind"
    api_version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    causes: list[FieldError] = []
    if not api_version:
        causes.append(required(f"{at}.apiVersion"))
    elif api_version.count("/") > 1:
        causes.append(invalid(f"{at}.apiVersion", api_version, f"unexpected GroupVersion string: {api_version}"))
    else:
        group, version = split_api_version(api_version)
        if group and (problems := names.dns1123_subdomain(group)):
            causes.append(invalid(f"{at}.apiVersion", group, ",".join(problems)))
        if not version:
            causes.append(invalid(f"{at}.apiVersion", api_version, "version must be specified"))
        elif problems := names.dns1035_label(version):
            causes.append(invalid(f"{at}.apiVersion", version, ",".join(problems)))
    if not name:
        causes.append(required(f"{at}.kind"))
    elif problems := names.dns1035_label(name.lower()):
        text = f"may have mixed case, but should otherwise match: {','.join(problems)}"
        causes.append(invalid(f"{at}.kind", name, text))
    return causes


def _match(at: str, match: Object | None) -> list[FieldError]:
    if match is None:
        return []
    causes = one_of(f"{at}.matchPolicy", match.get("matchPolicy"), ("Equivalent", "Exact"))
    for field in ("namespaceSelector", "objectSelector"):
        causes += label_selector(f"{at}.{field}", match.get(field))
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(field) or ()):
            here = f"{at}.{field}[{index}]"
            seen: set[str] = set()
            for place, name in enumerate(rule.get("resourceNames") or ()):
                causes += named(f"{here}.resourceNames[{place}]", name, path_segment)
                if name in seen:
                    causes.append(duplicate(f"{here}.resourceNames[{place}]", name))
                seen.add(name)
            causes += rule_with_operations(here, rule)
    return causes


def _only_mutable(at: str, match: Object) -> list[FieldError]:
    return [
        unsupported(f"{at}.resourceRules.operations", operation, _MUTABLE)
        for rule in match.get("resourceRules") or ()
        for operation in rule.get("operations") or ()
        if operation not in _MUTABLE
    ]


def _variable(at: str, variable: Object, environments: PolicyEnvironments) -> list[FieldError]:
    name, expression = variable.get("name") or "", variable.get("expression") or ""
    causes: list[FieldError] = []
    if not name.strip():
        causes.append(required(f"{at}.name", "name is not specified"))
    elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
        causes.append(invalid(f"{at}.name", name, "must be a valid CEL identifier"))
    if not expression.strip():
        return [*causes, required(f"{at}.expression", "expression is not specified")]
    try:
        environments.add(name, expression)
    except cel.CompileError as error:
        environments.declare(name, cel.DYN)  # told once
        causes.append(uncompiled(f"{at}.expression", expression, error))
    return causes


# --- validating -------------------------------------------------------------------------------------------------------


def _validating(obj: Object) -> list[FieldError]:
    spec = obj["spec"]
    causes, environments = _common(spec, mutating=False)
    validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not annotations:
        text = "validations or auditAnnotations must contain at least one item"
        return [*causes, required("spec.validations", text), required("spec.auditAnnotations", text)]
    for index, validation in enumerate(validations):
        causes += _validation(f"spec.validations[{index}]", validation, environments)
    if len(annotations) > _MOST_ANNOTATIONS:
        text = f"must not have more than {_MOST_ANNOTATIONS} auditAnnotations"
        causes.append(invalid("spec.auditAnnotations", annotations, text))
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        at, key = f"spec.auditAnnotations[{index}]", annotation.get("key") or ""
        causes += _annotation(at, annotation, obj["metadata"].get("name") or "", environments)
        if key in seen:
            causes.append(duplicate(f"{at}.key", key))
        seen.add(key)
    return causes


def _validation(at: str, validation: Object, environments: PolicyEnvironments) -> list[FieldError]:
    expression, message = validation.get("expression") or "", validation.get("message") or ""
    told, reason = validation.get("messageExpression") or "", validation.get("reason")
    if not expression.strip():
        causes = [required(f"{at}.expression", "expression is not specified")]
    else:
        causes = complaints(f"{at}.expression", environments.validations, expression, cel.BOOL)
    if told and not told.strip():
        causes.append(invalid(f"{at}.messageExpression", told, "must be non-empty if specified"))
    elif told:
        causes += complaints(f"{at}.messageExpression", environments.messages, told, cel.STRING)
    if message and not message.strip():
        causes.append(invalid(f"{at}.message", message, "must be non-empty if specified"))
    elif "\n" in message.strip() or "\r" in message.strip():
        causes.append(invalid(f"{at}.message", message, "must not contain line breaks"))
    if reason is not None and reason not in _REASONS:
        causes.append(unsupported(f"{at}.reason", reason, _REASONS))
    return causes


def _annotation(at: str, annotation: Object, name: str, environments: PolicyEnvironments) -> list[FieldError]:
    key, expression = annotation.get("key") or "", annotation.get("valueExpression") or ""
    if name:
        causes = named(f"{at}.key", f"{name}/{key}", names.qualified_name)
    else:
        causes = [invalid(f"{at}.key", key, "requires metadata.name be non-empty")]
    if not expression.strip():
        return [*causes, required(f"{at}.valueExpression", "valueExpression is not specified")]
    if len(expression.strip()) > _LONGEST_VALUE:
        return [*causes, required(f"{at}.valueExpression", f"must not exceed {_LONGEST_VALUE} bytes in length")]
    return causes + complaints(f"{at}.valueExpression", environments.validations, expression, cel.STRING, cel.NULL)


def _actions(actions: list[str]) -> list[FieldError]:
    at = "spec.validationActions"
    causes: list[FieldError] = []
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            causes.append(unsupported(f"{at}[{index}]", action, _ACTIONS))
        if action in actions[:index]:
            causes.append(duplicate(f"{at}[{index}]", action))
    if "Deny" in actions and "Warn" in actions:
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        causes.append(invalid(at, actions, text))
    if not actions:
        causes.append(required(at, "at least one validation action is required"))
    return causes


def _param_ref(ref: Object | None) -> list[FieldError]:
    if ref is None:
        return []
    at = "spec.paramRef"
    name, selector, missing = ref.get("name") or "", ref.get("selector"), ref.get("parameterNotFoundAction")
    exclusive = "name and selector are mutually exclusive"
    causes: list[FieldError] = []
    if name:
        causes += named(f"{at}.name", name, path_segment)
        if selector is not None:
            causes.append(forbidden(f"{at}.name", exclusive))
    if selector is not None:
        causes += label_selector(f"{at}.selector", selector)
        if name:
            causes.append(forbidden(f"{at}.selector", exclusive))
    if not name and selector is None:
        causes.append(required(at, "one of name or selector must be specified"))
    if not missing:
        causes.append(required(f"{at}.parameterNotFoundAction"))
    elif missing not in ("Allow", "Deny"):
        causes.append(unsupported(f"{at}.parameterNotFoundAction", missing, ("Deny", "Allow")))
    return causes


# --- mutating ---------------------------------------------------------------------------------------------------------


def _mutating(obj: Object) -> list[FieldError]:
    spec = obj["spec"]
    causes, environments = _common(spec, mutating=True)
    mutations = spec.get("mutations") or []
    if not mutations:
        causes.append(required("spec.mutations", "mutations must contain at least one item"))
    for index, mutation in enumerate(mutations):
        causes += _mutation(f"spec.mutations[{index}]", mutation, environments)
    policy = spec.get("reinvocationPolicy") or ""
    at = "spec.reinvocationPolicy"
    return causes + (one_of(at, policy, ("IfNeeded", "Never")) if policy else [required(at)])


_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


def _mutation(at: str, mutation: Object, environments: PolicyEnvironments) -> list[FieldError]:
    kind = mutation.get("patchType") or ""
    if not kind:
        return [required(f"{at}.patchType")]
    if kind not in _PATCHES:
        return [unsupported(f"{at}.patchType", kind, tuple(_PATCHES))]
    field = _PATCHES[kind]
    other = next(each for each in _PATCHES.values() if each != field)
    causes: list[FieldError] = []
    if mutation.get(field) is None:
        causes.append(required(f"{at}.{field}", f"must be specified when patchType is {kind}"))
    elif not (text := (mutation[field].get("expression") or "").strip()):
        causes.append(required(f"{at}.{field}.expression"))
    else:
        wanted = OBJECT_TYPE if kind == "ApplyConfiguration" else cel.list_of(JSON_PATCH)
        causes += complaints(f"{at}.{field}.expression", environments.validations, text, wanted)
    if mutation.get(other) is not None:
        causes.append(invalid(f"{at}.{other}", f"{{{other}}}", f"must not be specified when patchType is {kind}"))
    return causes
