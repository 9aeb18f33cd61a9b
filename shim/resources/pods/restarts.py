"""When a container starts again: after it ended (KEP-5307), and after its resources changed (KEP-1287)."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import duplicate, invalid, one_of, required, too_many, unsupported

_POLICIES = ("Always", "Never", "OnFailure")
_ACTIONS = ("Restart", "RestartAllContainers")
_OPERATORS = ("In", "NotIn")
_RESIZABLE = ("cpu", "memory")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")
_MAX_RULES = 20
_MAX_CODES = 255


def restarts(at: str, container: Object) -> list[FieldError]:
    """A container's own restart policy, and its rules for single exit codes."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    causes: list[FieldError] = []
    if policy is not None:
        causes += one_of(f"{at}.restartPolicy", policy, _POLICIES)
    elif rules:
        causes.append(required(f"{at}.restartPolicy", "must specify restartPolicy when restart rules are used"))
    if len(rules) > _MAX_RULES:
        causes.append(too_many(f"{at}.restartPolicyRules", len(rules), _MAX_RULES))
    for index, rule in enumerate(rules):
        here, codes = f"{at}.restartPolicyRules[{index}]", rule.get("exitCodes")
        causes += one_of(f"{here}.action", rule.get("action") or "", _ACTIONS)
        if codes is None:
            causes.append(required(f"{here}.exitCodes", "must be specified"))
            continue
        causes += one_of(f"{here}.exitCodes.operator", codes.get("operator") or "", _OPERATORS)
        if len(codes.get("values") or ()) > _MAX_CODES:
            causes.append(too_many(f"{here}.exitCodes.values", len(codes["values"]), _MAX_CODES))
    return causes


def init_restarts(at: str, container: Object) -> list[FieldError]:
    """The same for an init container, which without a policy of its own is not asked about its rules."""
    if container.get("restartPolicy") is not None:
        return restarts(at, container)
    if not container.get("restartPolicyRules"):
        return []
    return [required(f"{at}.restartPolicy", "must specify restartPolicy when restart rules are used")]


def resize_policies(at: str, found: list[Object], pod_restarts: str) -> list[FieldError]:
    """What to do with a container whose resources change."""
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, each in enumerate(found):
        name, policy = each.get("resourceName") or "", each.get("restartPolicy") or ""
        if name in seen:
            causes.append(duplicate(f"{at}[{index}]", name))
        seen.add(name)
        for value, supported in ((name, _RESIZABLE), (policy, _RESIZE_POLICIES)):
            if not value:
                causes.append(required(at))
            elif value not in supported:
                causes.append(unsupported(at, value, supported))
        if pod_restarts == "Never" and policy != "NotRequired":
            text = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            causes.append(invalid(at, policy, text))
    return causes
