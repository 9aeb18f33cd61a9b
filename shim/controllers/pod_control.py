"""How does a controller make and remove the pods it owns?

Each create and delete is told as an event on the owner, in upstream's words.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable

from shim.api import names
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import Client, EventRecorder
from shim.client import resource as r

FIRST_BATCH = 1  # if the first create is refused (quota, admission), the others are not even tried


def pod_from_template(template: Object, owner_name: str, reference: Object) -> Object:
    """The pod that a template means, not yet named."""
    described = template.get("metadata") or {}
    prefix = f"{owner_name}-"
    if names.dns1123_subdomain(names.mask_trailing_dash(prefix)):
        prefix = owner_name
    metadata: Object = {"generateName": prefix, "ownerReferences": [reference]}
    for field in ("labels", "annotations", "finalizers"):
        if described.get(field):
            metadata[field] = copy.deepcopy(described[field])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def namespace_terminating(error: Exception) -> bool:
    """Whether a create was refused because its namespace is being deleted: not worth a retry or an event."""
    if not isinstance(error, ApiError) or error.code != 403:
        return False
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


class PodControl:
    """Creates and deletes pods for owners."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client, self._recorder = client, recorder

    async def create(self, owner: Object, pod: Object) -> Object:
        """Create one pod. Raises ApiError after telling of it."""
        try:
            made = await self._client.create(r.PODS, pod, owner["metadata"]["namespace"])
        except ApiError as error:
            if not namespace_terminating(error):
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return made

    async def delete(self, owner: Object, pod: Object) -> None:
        """Ask for one pod's deletion. Raises ApiError, also if it is gone already."""
        metadata = pod["metadata"]
        try:
            await self._client.delete(r.PODS, metadata["name"], metadata["namespace"])
        except ApiError as error:
            if error.code != 404:
                self._recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}")


async def slow_start(count: int, create: Callable[[], Awaitable[object]]) -> tuple[int, Exception | None]:
    """Call ``create`` so many times, in batches of 1, 2, 4, ... until one fails: how many worked, the first failure."""
    done, batch = 0, min(count, FIRST_BATCH)
    while batch > 0:
        results = await asyncio.gather(*(create() for _ in range(batch)), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        done += batch - len(failures)
        for failure in failures:
            if not isinstance(failure, Exception):
                raise failure
        if failures:
            return done, next(failure for failure in failures if isinstance(failure, Exception))
        batch = min(2 * batch, count - done)
    return done, None


async def all_or_first_failure(work: list[Awaitable[object]]) -> None:
    """Do all of it side by side; a pod that is gone already is no failure. Raises the first other one."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException) and not (isinstance(result, ApiError) and result.code == 404):
            raise result
