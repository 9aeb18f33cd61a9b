"""How is a status written?

With the revision it was computed from, so that a newer object is never overwritten blindly; when only the object (not
its identity) has moved on meanwhile, the computed status is tried once more on the fresh one.
"""

from __future__ import annotations

from typing import Any

from shim.api.meta import GVR, Object
from shim.api.status import ApiError, conflict
from shim.client import Client


def without_zeros(status: dict[str, Any], keep: tuple[str, ...] = ()) -> Object:
    """Leave out what the API leaves out when empty: zero counts, empty lists, None."""
    return {key: value for key, value in status.items() if key in keep or value not in (0, None, [], {}, "")}


async def write_status(client: Client, resource: GVR, obj: Object, status: Object) -> Object:
    """Write this status; the answer is the object as it now is. Raises ApiError."""
    try:
        return await client.update(resource, {**obj, "status": status}, subresource="status")
    except ApiError as error:
        if error.code != 409:
            raise
    metadata = obj["metadata"]
    fresh = await client.get(resource, metadata["name"], metadata.get("namespace"))
    if fresh["metadata"]["uid"] != metadata["uid"]:
        raise conflict(resource.group, resource.resource, metadata["name"], "it was replaced meanwhile")
    return await client.update(resource, {**fresh, "status": status}, subresource="status")
