"""Which pod templates has an owner had? ControllerRevisions, which ``kubectl rollout history`` and ``undo`` read.

Each holds the template as a patch of the owner. Numbers only grow: going back to an old template gives its revision a
new, highest number instead of making another object.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from shim.api.meta import GVR, Object
from shim.api.selectors import Selector
from shim.api.status import ApiError
from shim.client import Client, Informer
from shim.client import resource as r
from shim.controllers.adoption import claim, owner_reference, plan_claims
from shim.controllers.children import Children
from shim.controllers.deployment_revisions import comparable
from shim.controllers.written import Written

NAME_LENGTH = 223  # of the owner's name in a revision's name, as upstream


@dataclass(frozen=True, slots=True)
class Step:
    """How the present template becomes the newest revision: it is already, or takes a new number, or is created."""

    existing: Object | None
    number: int
    renumber: bool = False


def template_patch(owner: Object) -> Object:
    """What a revision keeps: applied to the owner it brings this template back.

    With its keys in order: clients find a template's revision by comparing the bytes, as upstream's controllers do.
    """
    return {"spec": {"template": _in_order({**owner["spec"]["template"], "$patch": "replace"})}}


def _in_order(value: Any) -> Any:
    """A copy with the keys of all maps sorted."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(each) for each in value] if isinstance(value, list) else value


def by_number(revisions: list[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(
        revisions,
        key=lambda each: (
            each.get("revision", 0),
            each["metadata"].get("creationTimestamp", ""),
            each["metadata"]["name"],
        ),
    )


def plan_revision(revisions: list[Object], data: Object) -> Step:
    """What must be done so that ``data`` is the newest of these revisions, which are oldest first."""
    number = revisions[-1].get("revision", 0) + 1 if revisions else 1
    same = [each for each in revisions if comparable(each.get("data")) == comparable(data)]
    if not same:
        return Step(None, number)
    if same[-1] is revisions[-1]:
        return Step(same[-1], int(same[-1].get("revision", 0)))
    return Step(same[-1], number, renumber=True)


def template_of(revision: Object) -> Object:
    """The pod template that a revision keeps."""
    template = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return dict(template)


def forgettable(revisions: list[Object], live: set[str], limit: int) -> list[Object]:
    """The oldest revisions beyond the limit that no pod and no status names."""
    unused = [each for each in revisions if each["metadata"]["name"] not in live]
    return unused[: max(len(unused) - limit, 0)]


class History:
    """The ControllerRevisions of one kind of owner."""

    def __init__(self, client: Client, informer: Informer, resource: GVR, kind: str) -> None:
        self._client, self._resource, self._kind = client, resource, kind
        self._children = Children(informer)
        self._written = Written(informer)

    async def of(self, owner: Object, selector: Selector) -> list[Object]:
        """The owner's revisions, oldest first; matching orphans are adopted."""
        namespace = owner["metadata"]["namespace"]
        unseen = [each for each in self._written.unseen() if each["metadata"]["namespace"] == namespace]
        claims = plan_claims(
            owner,
            lambda each: selector.matches(each["metadata"].get("labels") or {}),
            self._written.overlay(self._children.candidates(owner)) + unseen,
        )
        reference = owner_reference(owner, self._resource.api_version, self._kind)
        owned = await claim(self._client, self._resource, owner, reference, r.CONTROLLERREVISIONS, claims)
        return by_number(owned)

    async def create(self, owner: Object, data: Object, number: int, name_hash: str, hash_label: str) -> Object:
        """Make a revision. Raises ApiError 409 where another template has the same hash: the caller counts it."""
        metadata = owner["metadata"]
        labels = dict((owner["spec"]["template"].get("metadata") or {}).get("labels") or {})
        wanted: Object = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": f"{metadata['name'][:NAME_LENGTH]}-{name_hash}",
                "namespace": metadata["namespace"],
                "labels": {**labels, hash_label: name_hash},
                "ownerReferences": [owner_reference(owner, self._resource.api_version, self._kind)],
            },
            "data": data,
            "revision": number,
        }
        if metadata.get("annotations"):
            wanted["metadata"]["annotations"] = dict(metadata["annotations"])
        try:
            made = await self._client.create(r.CONTROLLERREVISIONS, wanted, metadata["namespace"])
        except ApiError as error:
            if error.code != 409:
                raise
            there = await self._client.get(r.CONTROLLERREVISIONS, wanted["metadata"]["name"], metadata["namespace"])
            if comparable(there.get("data")) != comparable(data):
                raise
            made = there
        return self._written.remember(made)

    async def renumber(self, revision: Object, number: int) -> Object:
        return self._written.remember(
            await self._client.update(r.CONTROLLERREVISIONS, {**revision, "revision": number})
        )

    async def forget(self, revisions: list[Object]) -> None:
        for each in revisions:
            try:
                await self._client.delete(
                    r.CONTROLLERREVISIONS, each["metadata"]["name"], each["metadata"]["namespace"]
                )
            except ApiError as error:
                if error.code != 404:
                    raise
            self._written.remember_deleted(each)
