"""A cluster in a few objects, and requests to it, for stories of admission."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from shim import cel
from shim.admission.chain import Chain
from shim.admission.request import CREATE, UPDATE, Request, Who
from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.resources.strategy import Resource
from shim.resources.table import RESOURCES, find

NAMESPACE = ("namespaces", {"metadata": {"name": "ns"}, "status": {"phase": "Active"}})
ACCOUNT = ("serviceaccounts", {"metadata": {"name": "default", "namespace": "ns"}})
POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}]}}


@dataclass(frozen=True)
class User:
    name: str = "alice"
    groups: Sequence[str] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def info(self) -> Object:
        return {"username": self.name, "groups": list(self.groups)}


class Cluster:
    """What memory holds, for these stories; ``rights`` are what everyone may: (verb, resource, name)."""

    def __init__(self, *objects: tuple[str, Object], rights: Sequence[tuple[str, str, str]] = ()) -> None:
        self.objects = list(objects)
        self.rights = rights

    def get(self, gvr: GVR, namespace: str | None, name: str) -> Object | None:
        return next((each for each in self.list(gvr, namespace) if each["metadata"]["name"] == name), None)

    def list(self, gvr: GVR, namespace: str | None = None) -> list[Object]:
        return [
            each
            for resource, each in self.objects
            if resource == gvr.resource and (namespace is None or each["metadata"].get("namespace") == namespace)
        ]

    def may(self, user: Who, verb: str, gvr: GVR, name: str = "", *, namespace: str = "") -> bool:
        return (verb, gvr.resource, name) in self.rights

    def judge(self, user: Who, asked: cel.Attributes) -> cel.Decision:
        return cel.Decision((asked.verb, asked.resource, asked.name) in self.rights)

    def equivalents(self, resource: Resource) -> list[Resource]:
        return [row for row in RESOURCES if row.prefix == resource.prefix and row is not resource]

    def conform(self, obj: Object, kind: str, api_version: str, *, strict: bool = False) -> Object:
        return obj


def request(
    operation: str,
    resource: str,
    obj: Object | None,
    old: Object | None,
    *,
    group: str = "",
    namespace: str | None = "ns",
    subresource: str = "",
    name: str = "",
    user: User | None = None,
) -> Request:
    row = find(group, "v1", resource)
    assert row is not None
    name = name or ((obj or old or {}).get("metadata") or {}).get("name", "")
    obj, old = copy.deepcopy(obj), copy.deepcopy(old)
    return Request(operation, row, namespace, name, user or User(), obj, old, subresource)


def create(resource: str, obj: Object, **more: Any) -> Request:
    return request(CREATE, resource, obj, None, **more)


def update(resource: str, new: Object, old: Object, **more: Any) -> Request:
    return request(UPDATE, resource, new, old, **more)


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {**copy.deepcopy(POD["spec"]), **spec}}


async def admitted(cluster: Cluster, request: Request) -> Object:
    await Chain(cluster).admit(request)
    assert request.obj is not None
    return request.obj


async def refusal(cluster: Cluster, request: Request) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await Chain(cluster).admit(request)
    return caught.value


def container(**fields: Any) -> list[Object]:
    """The containers of a pod that has one."""
    return [{"name": "c", "image": "i", **fields}]


def claim(size: str, storage_class: str = "fast", phase: str = "Bound") -> Object:
    """A claim of this size."""
    spec = {"storageClassName": storage_class, "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": "c"}, "spec": spec, "status": {"phase": phase}}
