"""Asks a kind's rules as the server does: what is wrong with this object, or with this change of one."""

from __future__ import annotations

import copy
from collections.abc import Callable

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.strategy import Resource
from shim.resources.table import RESOURCES

Edit = Callable[[Object], object]


def row(resource: str, group: str | None = None) -> Resource:
    return next(each for each in RESOURCES if each.name == resource and group in (None, each.group))


def made(resource: str, obj: Object, group: str | None = None) -> Object:
    """As the server makes it, up to validation."""
    obj = copy.deepcopy(obj)
    kind = row(resource, group)
    metadata = obj.setdefault("metadata", {})
    metadata.setdefault("name", "x")
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    obj = kind.to_storage(obj) if kind.to_storage else obj
    kind.strategy.default(obj)
    obj["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    kind.strategy.prepare_for_create(obj)
    return obj


def refused(resource: str, obj: Object, group: str | None = None) -> list[str]:
    """What is said of a new object."""
    return texts(row(resource, group).strategy.validate(made(resource, obj, group)))


def edited(resource: str, obj: Object, edit: Edit, group: str | None = None) -> list[str]:
    """What is said of an object that is made, edited and put back, or of its status if ``/status`` is named."""
    resource, _, subresource = resource.partition("/")
    old = made(resource, obj, group)
    if "status" in obj:
        old["status"] = copy.deepcopy(obj["status"])
    kind = row(resource, group)
    new = copy.deepcopy(kind.from_storage(old) if kind.from_storage else old)
    edit(new)
    new = kind.to_storage(new) if kind.to_storage else new
    strategy = kind.strategy
    strategy.default(new)
    if subresource:
        strategy.prepare_for_status_update(new, old)
        return texts(strategy.validate_status_update(new, old))
    strategy.prepare_for_update(new, old)
    return texts(strategy.validate_update(new, old))


def texts(causes: list[FieldError]) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in causes]
