"""What a container may ask for: resource names, and requests against limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shim.api import names
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import NOT_NEGATIVE, invalid, named, required

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


def validate(field: str, resources: Mapping[str, Any]) -> list[FieldError]:
    """``resources`` of a container."""
    causes: list[FieldError] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, text in limits.items():
        at = f"{field}.limits[{name}]"
        causes += container_resource(at, name) + quantity(at, name, text)
    for name, text in requests.items():
        at = f"{field}.requests[{name}]"
        causes += container_resource(at, name) + quantity(at, name, text)
        if name in limits:
            asked, limit = amount(text), amount(limits[name])
            if not may_overcommit(name) and asked != limit:
                causes.append(invalid(f"{field}.requests", str(asked), f"must be equal to {name} limit of {limit}"))
            elif asked > limit:
                detail = f"must be less than or equal to {name} limit of {limit}"
                causes.append(invalid(f"{field}.requests", str(asked), detail))
        elif not may_overcommit(name):
            causes.append(required(f"{field}.limits", "Limit must be set for non overcommitable resources"))
    return causes
