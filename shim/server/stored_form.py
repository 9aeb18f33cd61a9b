"""Objects on the way into the store, in the form and version that they are kept in, and what goes with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson

from shim.admission.chain import Request
from shim.api.meta import Object
from shim.resources.strategy import Resource
from shim.resources.table import find
from shim.store.cache import Also, Entry
from shim.store.contract import TooLarge


def versioned(resource: Resource, obj: Object) -> Object:
    """An object in its stored form, in the version of this resource."""
    return resource.from_storage(obj) if resource.from_storage else obj


async def tried(resource: Resource, obj: Object) -> bytes:
    """What a dry run answers: an object as it would be stored, and read again. Raises ApiError."""
    if resource.converter is not None and resource.storage is not None:
        there = await resource.converter.convert([obj], resource.storage.api_version)
        [obj] = await resource.converter.convert(there, resource.api_version)
    return orjson.dumps(versioned(resource, obj))


async def kept(resource: Resource, obj: Object) -> Object:
    """An object as it is stored, after it was written. Raises ApiError."""
    if resource.converter is not None and resource.storage is not None:
        [obj] = await resource.converter.convert([obj], resource.storage.api_version)
    return resource.preserve(obj) if resource.preserve else obj


async def fitting(put: Callable[[Object], Awaitable[Entry]], obj: Object) -> Entry:
    """Write an object, where it is too large without saying who owns its fields, as upstream. Raises what that does."""
    try:
        return await put(obj)
    except TooLarge:
        if not obj["metadata"].pop("managedFields", None):
            raise
        return await put(obj)


def charged(request: Request) -> list[Also]:
    """What admission changes together with the request's object."""
    found = []
    for charge in request.charges:
        row, metadata = find(*charge.gvr[:3]), charge.obj["metadata"]
        assert row is not None
        key = row.key(metadata.get("namespace"), metadata["name"])
        found.append(Also(key, charge.obj, int(metadata["resourceVersion"])))
    return found
