"""What of a ResourceQuota does an object take? Measures by resource, scopes by selector. Pure.

A quota names resources: ``pods``, ``requests.cpu``, ``count/deployments.apps``, ``gold.storageclass.storage.k8s.io/
requests.storage``. Each kind of object knows which of these names speak of it, how much it takes of them, and which
scopes (KEP-0568: ``BestEffort``, ``PriorityClass in (high)``) it is in. Admission adds up the difference that a write
makes; the quota controller adds up everything.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from shim.api.meta import Object, parse_time
from shim.api.pod_amounts import Amounts, in_use
from shim.api.qos import qos_class
from shim.api.quantity import ZERO, Quantity, amount

ONE = Quantity(10**9)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_MUST_BE_SAID = frozenset(f"{field}{name}" for field in ("", "requests.", "limits.") for name in ("cpu", "memory"))
"""Every container must name these where a quota does. Upstream calls that a mistake and extends it no further."""
_POD_NAMES = frozenset(
    ("pods", "count/pods", *(f"{field}{name}" for field in ("", "requests.", "limits.") for name in _COMPUTE))
)
_CLAIM_NAMES = ("persistentvolumeclaims", "requests.storage")
_BY_CLASS = ".storageclass.storage.k8s.io/"
_DEVICE_CLASS = "deviceclass.resource.kubernetes.io/"
_ALIASED = ("configmaps", "resourcequotas", "replicationcontrollers", "secrets")
UNCOUNTED = frozenset(("events", "events.events.k8s.io", "bindings", "componentstatuses"))
"""Kinds (as ``resource.group``) that no quota counts."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What quotas may say of one kind of object."""

    named: Callable[[str], bool]
    """Whether a resource of a quota speaks of this kind."""
    usage: Callable[[Object], Amounts]
    """What one object takes of everything a quota can name."""
    in_scope: Callable[[Object, Object], bool] = lambda scope, obj: False
    """Whether an object is in a scope (``{scopeName, operator, values}``); most kinds are in none."""


def qualified(group: str, resource: str) -> str:
    """The kind as quotas count it: ``deployments.apps``, ``pods``."""
    return f"{resource}.{group}" if group else resource


def measure_of(kind: str) -> Measure:
    """The measure of a kind, named as :func:`qualified` does."""
    return _MEASURES.get(kind) or _counted(kind)


def scopes_of(quota: Object) -> list[Object]:
    spec = quota.get("spec") or {}
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    return scopes + list((spec.get("scopeSelector") or {}).get("matchExpressions") or ())


def covers(quota: Object, measure: Measure, obj: Object) -> bool:
    """Whether the object is in all of the quota's scopes."""
    return all(measure.in_scope(scope, obj) for scope in scopes_of(quota))


def added(one: Amounts, other: Amounts) -> Amounts:
    return one | {name: one[name] + value if name in one else value for name, value in other.items()}


def unsaid(spec: Object, required: Iterable[str]) -> str:
    """What a pod's containers leave unsaid of the resources a quota limits, as upstream words it; or ""."""
    if any((spec.get("resources") or {}).get(field) for field in ("requests", "limits")):
        return ""
    missing: dict[str, set[str]] = {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        for key in _MUST_BE_SAID.intersection(required):
            field, _, name = key.rpartition(".")
            if name not in (resources.get(field or "requests") or ()):
                missing.setdefault(key, set()).add(container.get("name", ""))
    return "; ".join(f"{key} for: {','.join(sorted(missing[key]))}" for key in sorted(missing))


def _counted(kind: str, *aliases: str) -> Measure:
    names = (f"count/{kind}", *aliases)
    return Measure(names.__contains__, lambda obj: dict.fromkeys(names, ONE))


# --- pods ------------------------------------------------------------------------------------------------------------


def _names_pods(name: str) -> bool:
    return name in _POD_NAMES or name.startswith("hugepages-") or _is_device(name)


def _is_device(name: str) -> bool:
    """``requests.example.com/gpu``, ``requests.hugepages-2Mi``: what cannot be overcommitted is named by requests."""
    if not name.startswith("requests."):
        return False
    inner = name.removeprefix("requests.")
    return inner.startswith(("hugepages-", _DEVICE_CLASS)) or ("/" in name and "kubernetes.io/" not in name)


def is_over(pod: Object) -> bool:
    """Whether a pod takes nothing any more: it ended, or should be gone and its node does not say so."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    metadata = pod["metadata"]
    marked, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if not marked or grace is None:
        return False
    return datetime.datetime.now(datetime.UTC) > parse_time(marked) + datetime.timedelta(seconds=grace)


def _pod_usage(pod: Object) -> Amounts:
    usage = {"count/pods": ONE}
    if is_over(pod):
        return usage
    usage["pods"] = ONE
    for name, value in in_use(pod, "requests").items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            usage[name] = value
        if name in usage or _is_device(f"requests.{name}"):
            usage[f"requests.{name}"] = value
    limits = in_use(pod, "limits")
    return usage | {f"limits.{name}": limits[name] for name in _COMPUTE if name in limits}


def is_terminating(pod: Object) -> bool:
    """Whether a pod ends by itself at a given time: a scope of quotas."""
    return pod["spec"].get("activeDeadlineSeconds") is not None


def _pod_in_scope(scope: Object, pod: Object) -> bool:
    name, spec = scope.get("scopeName"), pod["spec"]
    if name in ("Terminating", "NotTerminating"):
        return is_terminating(pod) is (name == "Terminating")
    if name in ("BestEffort", "NotBestEffort"):
        return (qos_class(spec) == "BestEffort") is (name == "BestEffort")
    if name == "PriorityClass":
        return _selects(scope, {spec["priorityClassName"]} if spec.get("priorityClassName") else set())
    return name == "CrossNamespacePodAffinity" and any(
        term.get("namespaces") or term.get("namespaceSelector") is not None for term in _affinity_terms(spec)
    )


def _affinity_terms(spec: Object) -> Iterator[Object]:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        yield from rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}


def _selects(scope: Object, found: set[str]) -> bool:
    operator, values = scope.get("operator") or "Exists", set(scope.get("values") or ())
    if operator in ("Exists", "DoesNotExist"):
        return bool(found) == (operator == "Exists")
    if operator == "In":
        return bool(found & values)
    return not found or bool(found - values)


# --- services and claims ----------------------------------------------------------------------------------------------


def _service_usage(service: Object) -> Amounts:
    """Node ports are counted as asked for: they are not allocated yet when admission looks."""
    spec = service.get("spec") or {}
    kind, ports = spec.get("type"), spec.get("ports") or ()
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        ports = [port for port in ports if port.get("nodePort")]
    node_ports = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
    return {
        "count/services": ONE,
        "services": ONE,
        "services.nodeports": ONE * node_ports,
        "services.loadbalancers": ONE if kind == "LoadBalancer" else ZERO,
    }


def _names_claims(name: str) -> bool:
    if name in _CLAIM_NAMES or name == "count/persistentvolumeclaims":
        return True
    return any(name.endswith(_BY_CLASS + each) for each in _CLAIM_NAMES)


def storage_of(claim: Object) -> Quantity:
    """What a claim asks for, in whole bytes; or what it was given, where that is more."""
    asked = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0")
    given = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage", "0")
    most = max(amount(asked), amount(given))
    return Quantity(most.value * 10**9, most.format)


def _claim_usage(claim: Object) -> Amounts:
    usage = {"count/persistentvolumeclaims": ONE, "persistentvolumeclaims": ONE, "requests.storage": storage_of(claim)}
    annotations = claim["metadata"].get("annotations") or {}
    name = annotations.get("volume.beta.kubernetes.io/storage-class", claim["spec"].get("storageClassName"))
    if name:
        usage |= {f"{name}{_BY_CLASS}{each}": usage[each] for each in _CLAIM_NAMES}
    return usage


def attributes_classes(claim: Object) -> set[str]:
    """The volume attributes classes that a claim has, wants or is changing to."""
    spec, status = claim["spec"], claim.get("status") or {}
    names = {
        spec.get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    }
    return {name for name in names if name}


def _claim_in_scope(scope: Object, claim: Object) -> bool:
    return scope.get("scopeName") == "VolumeAttributesClass" and _selects(scope, attributes_classes(claim))


_MEASURES = {
    "pods": Measure(_names_pods, _pod_usage, _pod_in_scope),
    "services": Measure(
        ("count/services", "services", "services.nodeports", "services.loadbalancers").__contains__, _service_usage
    ),
    "persistentvolumeclaims": Measure(_names_claims, _claim_usage, _claim_in_scope),
    **{kind: _counted(kind, kind) for kind in _ALIASED},
}
MEASURED = tuple(_MEASURES)
"""The kinds that quotas can name otherwise than by ``count/``."""
