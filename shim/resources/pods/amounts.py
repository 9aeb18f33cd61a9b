"""What a container may ask for: resource names, and requests against limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from shim.api import names
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import NOT_NEGATIVE, forbidden, invalid, named, required, unsupported
from shim.resources.pods import claims

ResourceRule = Callable[[str, str], list[FieldError]]

_CONTAINER = ("cpu", "memory", "ephemeral-storage")
COUNTED = (
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
)
"""Objects that a quota can count by these names."""
STANDARD = (
    *_CONTAINER,
    "storage",
    *COUNTED,
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
)


def is_native(name: str) -> bool:
    """cpu, memory and the like, as against what a device plugin offers under a domain of its own."""
    return "/" not in name or "kubernetes.io/" in name


def is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


def is_extended(name: str) -> bool:
    """What a device plugin offers; a quota names it with ``requests.`` in front, which must fit as well."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


def may_overcommit(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


def resource_name(field: str, name: str) -> list[FieldError]:
    """A resource that any object may name."""
    causes = named(field, name, names.qualified_name)
    if not causes and "/" not in name and name not in STANDARD and not is_huge_page(name.removeprefix("requests.")):
        causes.append(invalid(field, name, "must be a standard resource type or fully qualified"))
    return causes


def container_resource(field: str, name: str) -> list[FieldError]:
    """A resource that a container may ask for."""
    if name in _CONTAINER:
        return []
    causes = resource_name(field, name)
    if "/" not in name:
        if not is_huge_page(name):
            causes.append(invalid(field, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        causes.append(invalid(field, name, "doesn't follow extended resource name standard"))
    return causes


def quantity(field: str, name: str, text: Any) -> list[FieldError]:
    """An amount of one resource: not negative, and whole where only whole ones exist."""
    found = amount(text)
    causes = [invalid(field, str(found), NOT_NEGATIVE)] if found.nanos < 0 else []
    if not found.whole and (name in COUNTED or is_extended(name)):
        causes.append(invalid(field, str(found), "must be an integer"))
    return causes


def _pod_resource(field: str, name: str) -> list[FieldError]:
    """A resource that a pod as a whole may ask for (KEP-2837)."""
    causes = resource_name(field, name)
    if not causes and name not in ("cpu", "memory") and not is_huge_page(name):
        return [unsupported(field, name, ("cpu", "hugepages-", "memory"))]
    return causes


def of_pod(field: str, spec: Mapping[str, Any], known_claims: Collection[str]) -> list[FieldError]:
    """``resources`` of a pod: at least what its containers ask for, and no claims."""
    resources = spec["resources"]
    if (spec.get("os") or {}).get("name") == "windows":
        return [forbidden(field, "may not be set for a windows pod")]
    causes: list[FieldError] = []
    if resources.get("claims") is not None:
        causes.append(forbidden(f"{field}.claims", "claims may not be set for Resources at pod-level"))
    causes += validate(field, resources, _pod_resource)
    return causes + claims.of_container(f"{field}.claims", resources.get("claims") or [], known_claims)


def validate(field: str, resources: Mapping[str, Any], named_by: ResourceRule | None = None) -> list[FieldError]:
    """``resources`` of a container."""
    rule = named_by or container_resource
    causes: list[FieldError] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, text in limits.items():
        at = f"{field}.limits[{name}]"
        causes += rule(at, name) + quantity(at, name, text)
    for name, text in requests.items():
        at = f"{field}.requests[{name}]"
        causes += rule(at, name) + quantity(at, name, text)
        if name in limits:
            asked, limit = amount(text), amount(limits[name])
            if not may_overcommit(name) and asked != limit:
                causes.append(invalid(f"{field}.requests", str(asked), f"must be equal to {name} limit of {limit}"))
            elif asked > limit:
                detail = f"must be less than or equal to {name} limit of {limit}"
                causes.append(invalid(f"{field}.requests", str(asked), detail))
        elif not may_overcommit(name):
            causes.append(required(f"{field}.limits", "Limit must be set for non overcommitable resources"))
    asked_for = {*limits, *requests}
    if any(map(is_huge_page, asked_for)) and not asked_for & {"cpu", "memory"}:
        causes.append(forbidden(field, "HugePages require cpu or memory"))
    return causes
