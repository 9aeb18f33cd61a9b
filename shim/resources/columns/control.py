"""What is shown of kinds that control others: bindings, budgets, autoscalers, webhooks, requests for certificates."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api import conditions
from shim.api.meta import Object
from shim.resources.columns.common import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    at,
    count,
    dig,
    doc,
    human,
    integer,
    number,
    text,
    wide,
)
from shim.resources.strategy import Column


def _subjects(obj: Object, kind: str) -> str:
    found = [each for each in obj.get("subjects") or () if each.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(
            f"{each['namespace']}/{each['name']}" if each.get("namespace") else each["name"] for each in found
        )
    return ", ".join(each["name"] for each in found)


def _bindings(kind: str, word: str) -> tuple[Column, ...]:
    return (
        NAME,
        text(
            "Role",
            doc(f"rbac.v1.{kind}", "roleRef"),
            lambda obj: f"{dig(obj, 'roleRef.kind') or ''}/{dig(obj, 'roleRef.name') or ''}",
        ),
        AGE,
        wide("Users", f"Users in the {word}", lambda obj: _subjects(obj, "User")),
        wide("Groups", f"Groups in the {word}", lambda obj: _subjects(obj, "Group")),
        wide("ServiceAccounts", f"ServiceAccounts in the {word}", lambda obj: _subjects(obj, "ServiceAccount")),
    )


ROLE_BINDINGS = _bindings("RoleBinding", "roleBinding")
CLUSTER_ROLE_BINDINGS = _bindings("ClusterRoleBinding", "clusterRoleBinding")


def _amount(path: str) -> Column:
    name, about = {
        "spec.minAvailable": ("Min Available", "The minimum number of pods that must be available."),
        "spec.maxUnavailable": ("Max Unavailable", "The maximum number of pods that may be unavailable."),
    }[path]
    return text(name, about, lambda obj: "N/A" if dig(obj, path) is None else str(dig(obj, path)))


DISRUPTION_BUDGETS = (
    NAME,
    _amount("spec.minAvailable"),
    _amount("spec.maxUnavailable"),
    integer(
        "Allowed Disruptions",
        "Calculated number of pods that may be disrupted at this time.",
        number("status.disruptionsAllowed"),
    ),
    AGE,
)


def _metrics(obj: Object) -> Iterator[str]:
    found = dig(obj, "status.currentMetrics") or ()
    for index, metric in enumerate(dig(obj, "spec.metrics") or ()):
        kind = metric.get("type") or ""
        field = kind[:1].lower() + kind[1:]
        wanted, target = metric.get(field) or {}, (metric.get(field) or {}).get("target") or {}
        current = (found[index].get(field) or {}).get("current") or {} if index < len(found) else {}
        name = f"{wanted.get('name')}: " if kind in ("Resource", "ContainerResource") else ""
        if target.get("averageValue") is not None:
            average = " (avg)" if kind in ("External", "Object") else ""
            yield f"{name}{current.get('averageValue', UNKNOWN)}/{target['averageValue']}{average}"
        elif name:
            use, goal = current.get("averageUtilization"), target.get("averageUtilization")
            yield f"{name}{UNKNOWN if use is None else f'{use}%'}/{'<auto>' if goal is None else f'{goal}%'}"
        else:
            yield f"{current.get('value', UNKNOWN)}/{target.get('value')}"


def _targets(obj: Object) -> str:
    found = list(_metrics(obj))
    if not found:
        return NONE
    more = f" + {len(found) - 2} more..." if len(found) > 2 else ""
    return ", ".join(found[:2]) + more


_HPA = "autoscaling.v2.HorizontalPodAutoscalerSpec"

AUTOSCALERS = (
    NAME,
    text(
        "Reference",
        doc(_HPA, "scaleTargetRef"),
        lambda obj: f"{dig(obj, 'spec.scaleTargetRef.kind') or ''}/{dig(obj, 'spec.scaleTargetRef.name') or ''}",
    ),
    text("Targets", doc(_HPA, "metrics"), _targets),
    text("MinPods", doc(_HPA, "minReplicas"), lambda obj: str(dig(obj, "spec.minReplicas") or UNSET)),
    text("MaxPods", doc(_HPA, "maxReplicas"), number("spec.maxReplicas")),
    text(
        "Replicas",
        doc("autoscaling.v2.HorizontalPodAutoscalerStatus", "currentReplicas"),
        number("status.currentReplicas"),
    ),
    AGE,
)

WEBHOOKS = (
    NAME,
    integer(
        "Webhooks",
        "Webhooks indicates the number of webhooks registered in this configuration",
        count("webhooks"),
    ),
    AGE,
)


def _param_kind(obj: Object) -> str:
    found = dig(obj, "spec.paramKind")
    return f"{found.get('apiVersion')}/{found.get('kind')}" if found else UNSET


def _policy(word: str, about: str, path: str) -> tuple[Column, ...]:
    return (
        NAME,
        integer(word, about, count(path)),
        text("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy", _param_kind),
        AGE,
    )


VALIDATING_POLICIES = _policy(
    "Validations",
    "Validations indicates the number of validation rules defined in this configuration",
    "spec.validations",
)
MUTATING_POLICIES = _policy(
    "Mutations", "Mutation indicates the number of mutations rules defined in this configuration", "spec.mutations"
)


def _param_ref(obj: Object) -> str:
    found = dig(obj, "spec.paramRef") or {}
    return f"{found.get('namespace') or '*'}/{found['name']}" if found.get("name") else UNSET


POLICY_BINDINGS = (
    NAME,
    text(
        "PolicyName",
        "PolicyName indicates the policy definition which the policy binding binded to",
        at("spec.policyName"),
    ),
    text("ParamRef", "ParamRef indicates the param resource which sets the configuration param", _param_ref),
    AGE,
)


def _csr_condition(obj: Object) -> str:
    types = {each.get("type") for each in dig(obj, "status.conditions") or ()}
    words = ["Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"]
    if "Failed" in types:
        words.append("Failed")
    if dig(obj, "status.certificate"):
        words.append("Issued")
    return ",".join(words)


_CSR = "certificates.v1.CertificateSigningRequestSpec"

CERTIFICATE_REQUESTS = (
    NAME,
    AGE,
    text("SignerName", doc(_CSR, "signerName"), lambda obj: dig(obj, "spec.signerName") or NONE),
    text("Requestor", doc(_CSR, "request"), at("spec.username")),
    text(
        "RequestedDuration",
        doc(_CSR, "expirationSeconds"),
        lambda obj: NONE if dig(obj, "spec.expirationSeconds") is None else human(dig(obj, "spec.expirationSeconds")),
    ),
    text("Condition", doc("certificates.v1.CertificateSigningRequestStatus", "conditions"), _csr_condition),
)


def _dangling(obj: Object) -> str:
    found = conditions.find(obj, "Dangling")
    return found.get("status") or "" if found else "?"


_FLOW = "flowcontrol.v1.FlowSchemaSpec"

FLOW_SCHEMAS = (
    NAME,
    text(
        "PriorityLevel",
        doc("flowcontrol.v1.PriorityLevelConfigurationReference", "name"),
        at("spec.priorityLevelConfiguration.name"),
    ),
    text("MatchingPrecedence", doc(_FLOW, "matchingPrecedence"), number("spec.matchingPrecedence")),
    text("DistinguisherMethod", doc(_FLOW, "distinguisherMethod"), at("spec.distinguisherMethod.type", NONE)),
    AGE,
    text("MissingPL", "references a broken or non-existent PriorityLevelConfiguration", _dangling),
)

_QUEUING = "spec.limited.limitResponse.queuing"
_QUEUES = "flowcontrol.v1.QueuingConfiguration"

PRIORITY_LEVELS = (
    NAME,
    text("Type", doc("flowcontrol.v1.PriorityLevelConfigurationSpec", "type"), at("spec.type")),
    text(
        "NominalConcurrencyShares",
        doc("flowcontrol.v1.LimitedPriorityLevelConfiguration", "nominalConcurrencyShares"),
        at("spec.limited.nominalConcurrencyShares", NONE),
    ),
    text("Queues", doc(_QUEUES, "queues"), at(f"{_QUEUING}.queues", NONE)),
    text("HandSize", doc(_QUEUES, "handSize"), at(f"{_QUEUING}.handSize", NONE)),
    text("QueueLengthLimit", doc(_QUEUES, "queueLengthLimit"), at(f"{_QUEUING}.queueLengthLimit", NONE)),
    AGE,
)


def _api_service(obj: Object) -> str:
    found = dig(obj, "spec.service")
    return f"{found.get('namespace')}/{found.get('name')}" if found else "Local"


def _available(obj: Object) -> str:
    found = conditions.find(obj, "Available")
    if found is None:
        return "Unknown"
    if found.get("status") == "True":
        return "True"
    return f"{found.get('status')} ({found.get('reason')})"


API_SERVICES = (
    NAME,
    text("Service", "The reference to the service that hosts this API endpoint.", _api_service),
    text("Available", "Whether this service is available.", _available),
    AGE,
)


def _claim_state(obj: Object) -> str:
    deleted, status = obj["metadata"].get("deletionTimestamp"), obj.get("status") or {}
    words = ["deleted"] if deleted else []
    if not status.get("allocation"):
        words += [] if deleted else ["pending"]
    else:
        words.append("allocated")
        words += ["reserved"] if status.get("reservedFor") else []
    return ",".join(words)


RESOURCE_CLAIMS = (
    NAME,
    text("State", "A summary of the current state (allocated, pending, reserved, etc.).", _claim_state),
    AGE,
)

RESOURCE_SLICES = (
    NAME,
    text("Node", doc("resource.v1.ResourceSliceSpec", "nodeName"), at("spec.nodeName")),
    text("Driver", doc("resource.v1.ResourceSliceSpec", "driver"), at("spec.driver")),
    text("Pool", doc("resource.v1.ResourcePool", "name"), at("spec.pool.name")),
    AGE,
)
