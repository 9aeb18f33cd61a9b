"""Which objects belong to an owner, which should it adopt, and which let go?

An object belongs to the owner its controller reference names. An owner adopts matching orphans and releases what
no longer matches its selector; it does neither while it is being deleted itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shim.api.meta import GVR, Object, controller_of
from shim.api.status import ApiError, conflict
from shim.client import Client
from shim.controllers.pod_readiness import is_deleted


@dataclass(frozen=True, slots=True)
class Claims:
    """What an owner has, and what it should do to have the rest."""

    owned: list[Object]
    adopt: list[Object]
    release: list[Object]


def owner_reference(owner: Object, api_version: str, kind: str) -> Object:
    """The reference a controller puts into what it creates. Informer objects may lack kind, so it is given."""
    metadata = owner["metadata"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == owner["metadata"]["uid"]


def plan_claims(owner: Object, matches: Callable[[Object], bool], candidates: Iterable[Object]) -> Claims:
    """Sort the candidates into owned, to adopt and to release; others' objects are left alone."""
    uid, dying = owner["metadata"]["uid"], is_deleted(owner)
    claims = Claims([], [], [])
    for obj in candidates:
        reference = controller_of(obj)
        if reference is not None:
            if reference.get("uid") != uid:
                continue
            if matches(obj):
                claims.owned.append(obj)
            elif not dying:
                claims.release.append(obj)
        elif not dying and not is_deleted(obj) and matches(obj):
            claims.adopt.append(obj)
    return claims


async def claim(
    client: Client,
    owner_resource: GVR,
    owner: Object,
    reference: Object,
    resource: GVR,
    claims: Claims,
    *,
    finalizer: str | None = None,
) -> list[Object]:
    """Carry out the claims; the answer is everything the owner now owns. What is adopted may get a finalizer."""
    owned = list(claims.owned)
    namespace = owner["metadata"].get("namespace")
    if claims.adopt:
        await _recheck(client, owner_resource, owner)
    for obj in claims.adopt:
        patch: Object = {"metadata": {"ownerReferences": [reference], "uid": obj["metadata"]["uid"]}}
        if finalizer is not None:
            patch["metadata"]["finalizers"] = [finalizer]
        try:
            owned.append(await client.patch(resource, obj["metadata"]["name"], patch, namespace, type="strategic"))
        except ApiError as error:
            # gone, or a new object of the same name: either way not ours to adopt any more
            if error.code not in (404, 409, 422):
                raise
    for obj in claims.release:
        gone = {"$patch": "delete", "uid": owner["metadata"]["uid"]}
        patch = {"metadata": {"uid": obj["metadata"]["uid"], "ownerReferences": [gone]}}
        try:
            await client.patch(resource, obj["metadata"]["name"], patch, namespace, type="strategic")
        except ApiError as error:
            if error.code not in (404, 409, 422):
                raise
    return owned


async def _recheck(client: Client, resource: GVR, owner: Object) -> None:
    """Ask the server itself before adopting: what a deleted owner adopted, the collector would then delete."""
    metadata = owner["metadata"]
    fresh = await client.get(resource, metadata["name"], metadata.get("namespace"))
    if fresh["metadata"]["uid"] != metadata["uid"] or is_deleted(fresh):
        raise conflict(resource.group, resource.resource, metadata["name"], "it was deleted while it was adopting")
