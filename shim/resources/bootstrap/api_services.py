"""Where does each group and version stand in discovery? The APIServices of what this server itself serves.

The numbers are upstream's. A label tells who keeps an APIService: those of built-in groups are written when a server
starts, those of custom resources whenever definitions change; one without the label is its maker's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shim.api.meta import GVR, Object
from shim.resources.api_services import available
from shim.resources.metrics import GROUP as METRICS_GROUP
from shim.resources.metrics import VERSION as METRICS_VERSION

API_SERVICES = GVR("apiregistration.k8s.io", "v1", "apiservices", namespaced=False)
KEPT = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"
OWN_GROUP = (API_SERVICES.group, API_SERVICES.version)
"""Has no APIService: who serves it cannot be changed. It comes first."""

PRIORITIES: Mapping[str, tuple[int, Mapping[str, int]]] = {
    # group: where it stands among groups, and its versions among themselves
    "": (18000, {"v1": 1}),
    "apps": (17800, {"v1": 15}),
    "events.k8s.io": (17750, {"v1": 15}),
    "authentication.k8s.io": (17700, {"v1": 15}),
    "authorization.k8s.io": (17600, {"v1": 15}),
    "autoscaling": (17500, {"v1": 15, "v2": 30}),
    "batch": (17400, {"v1": 15}),
    "certificates.k8s.io": (17300, {"v1": 15}),
    "networking.k8s.io": (17200, {"v1": 15}),
    "policy": (17100, {"v1": 15}),
    "rbac.authorization.k8s.io": (17000, {"v1": 15}),
    "storage.k8s.io": (16800, {"v1": 15}),
    "admissionregistration.k8s.io": (16700, {"v1": 15}),
    "apiextensions.k8s.io": (16700, {"v1": 15}),
    "scheduling.k8s.io": (16600, {"v1": 15}),
    "coordination.k8s.io": (16500, {"v1": 15}),
    "node.k8s.io": (16300, {"v1": 15}),
    "discovery.k8s.io": (16200, {"v1": 15}),
    "resource.k8s.io": (16200, {"v1": 21}),
    "flowcontrol.apiserver.k8s.io": (16100, {"v1": 21}),
}
OF_CUSTOM_RESOURCES = (1000, 100)

Place = tuple[int, int]
"""Where a group stands among groups, and a version among its group's: the higher, the earlier."""


def place(group: str, version: str) -> Place:
    """Of a group and version that this server serves itself."""
    if (group, version) == OWN_GROUP:
        return 20_000, 0
    if group == METRICS_GROUP:
        return 100, 100
    priority, versions = PRIORITIES.get(group, (0, {}))
    return (priority, versions[version]) if version in versions else OF_CUSTOM_RESOURCES


def local(group: str, version: str, kept: str) -> Object:
    """The APIService of a group and version that this server serves itself, without a status."""
    priority, version_priority = place(group, version)
    return {
        "kind": "APIService",
        "apiVersion": API_SERVICES.api_version,
        "metadata": {"name": f"{version}.{group}", **({"labels": {KEPT: kept}} if kept else {})},
        "spec": {
            **({"group": group} if group else {}),
            "version": version,
            "groupPriorityMinimum": priority,
            "versionPriority": version_priority,
        },
    }


def built_in() -> list[Object]:
    return [local(group, version, ON_START) for group, (_, versions) in PRIORITIES.items() for version in versions]


def objects(time: str) -> list[tuple[GVR, None, Object]]:
    """Those every cluster has, as its bootstrap stores them."""
    return [(API_SERVICES, None, {**each, "status": {"conditions": [available(time)]}}) for each in built_in()]


def of_metrics() -> Object:
    """Where this server measures usage itself. Nobody keeps it: who installs a metrics server takes it over."""
    return local(METRICS_GROUP, METRICS_VERSION, "")


def of_custom_resources(served: Iterable[tuple[str, str]]) -> list[Object]:
    """Of the groups and versions that definitions name."""
    return [local(group, version, ALWAYS) for group, version in sorted(set(served))]
