"""pods/eviction: delete this pod, unless that would break a promise (PodDisruptionBudget)."""

from __future__ import annotations

from dataclasses import replace

import orjson
from aiohttp import web

from shim.api import conditions, selectors
from shim.api.meta import Object, now
from shim.api.status import (
    ApiError,
    FieldError,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    too_many_requests,
)
from shim.resources.strategy import Resource
from shim.server import errors
from shim.server.bodies import read_body
from shim.server.deletions import DeleteOptions
from shim.server.intent import Write
from shim.server.object_metadata import match_namespace
from shim.server.options import WriteOptions
from shim.server.parts import Call
from shim.server.responses import respond
from shim.server.subresources.admit import admit_order
from shim.server.subresources.pod_conditions import set_pod_condition

TRIES = 20  # of an eviction that others come in between of
MOST_DISRUPTED = 2000  # evictions the disruption controller may be behind
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


async def evict(call: Call) -> web.Response:
    """POST .../pods/NAME/eviction."""
    options = WriteOptions.of(call.query, "CreateOptions")
    body = await read_body(call)
    eviction = body.decode(call, "Eviction", "policy/v1", options, older=("policy/v1beta1",))
    match_namespace(eviction["metadata"], call.info.namespace)

    def check() -> None:
        if eviction["metadata"].get("name") != call.info.name:
            raise bad_request("name in URL does not match name in Eviction object")
        _deletion(call, eviction.get("deleteOptions") or {}, options)

    await admit_order(call, eviction, options, check)
    deletion = _deletion(call, eviction.get("deleteOptions") or {}, options)
    for tries_left in reversed(range(TRIES)):
        try:
            return await _evict(call, replace(deletion))
        except ApiError as error:
            if error.reason != "Conflict" or deletion.revision or deletion.uid or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


async def _evict(call: Call, deletion: DeleteOptions) -> web.Response:
    """One try. Raises 409 when the pod changes meanwhile in a way that may matter."""
    name = call.info.name
    entry = call.parts.cache.get(call.key)
    if entry is None:
        raise not_found("", "pods", name)
    pod = entry.decode()
    revision = pod["metadata"]["resourceVersion"]
    unguarded = ""  # the budget that does not count this pod, because it is not ready: it must stay so
    if _is_disrupted_already(pod):
        if _may_become_healthy(pod):
            deletion.revision = deletion.revision or revision
    else:
        budgets = _budgets_of(call, pod)
        if len(budgets) > 1:  # a failure without a reason, as upstream
            return respond(orjson.dumps(_TWO_BUDGETS), 500)
        for budget in budgets:
            if _counts(budget, pod):
                await _spend(call, budget["metadata"]["name"], pod, deletion.dry_run)
            elif not deletion.revision:
                deletion.revision, unguarded = revision, budget["metadata"]["name"]
    write = Write(call.resource, call.info.namespace, name, call.user, "eviction", admitted=True)
    try:
        if not deletion.dry_run:
            await _tell(call, write, deletion)
        await call.parts.removal.delete(write, deletion)
    except ApiError as error:
        if unguarded and error.reason == "Conflict":
            raise _still_processed(unguarded) from None  # it may be ready now: ask again
        raise
    return respond(orjson.dumps(errors.success(code=201)), 201, warnings=call.warnings)


_TWO_BUDGETS: Object = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    "code": 500,
}


def _deletion(call: Call, asked: Object, options: WriteOptions) -> DeleteOptions:
    """How the pod is to be deleted; a dry run may be asked for in the query and in the body."""
    if asked.get("ignoreStoreReadErrorWithClusterBreakingPotential"):
        field = "deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential"
        text = "Invalid value: true: can not be set for pod eviction, try after removing the option"
        raise invalid("policy", "Eviction", call.info.name, [FieldError("FieldValueInvalid", field, text)])
    said, queried = asked.get("dryRun") or [], ["All"] if options.dry_run else []
    if said and queried and said != queried:
        both = f"[{' '.join(queried)}] and [{' '.join(said)}]"
        raise ApiError(500, "", f"Non-matching dry-run options in request and content: {both}")
    deletion = DeleteOptions.of(asked)
    deletion.dry_run = deletion.dry_run or options.dry_run
    return deletion


def _is_disrupted_already(pod: Object) -> bool:
    """Pods that serve nobody may always go."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


def _may_become_healthy(pod: Object) -> bool:
    """Of a pod that may go as it is, whether that may have changed by the time it goes."""
    return (pod.get("status") or {}).get("phase") == "Pending" and not pod["metadata"].get("deletionTimestamp")


def _counts(budget: Object, pod: Object) -> bool:
    """Whether the pod is one of the healthy ones its budget guards, or its budget has none to spare."""
    if conditions.is_true(pod, "Ready"):
        return True
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return False
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return bool(healthy < desired or desired <= 0)


def _resource(call: Call) -> Resource:
    found = call.parts.routes.get("policy", "v1", "poddisruptionbudgets")
    assert found is not None
    return found


def _budgets_of(call: Call, pod: Object) -> list[Object]:
    labels = pod["metadata"].get("labels") or {}
    found = []
    for entry in call.parts.cache.range(f"{_resource(call).prefix}{call.info.namespace}/"):
        budget = entry.decode()
        try:
            selector = selectors.from_object((budget.get("spec") or {}).get("selector"))
        except selectors.SelectorError:
            continue
        if selector.matches(labels):
            found.append(budget)
    return found


async def _spend(call: Call, name: str, pod: Object, dry_run: bool) -> None:
    """Take one disruption from the budget. Raises 429 when it has none."""

    def take(budget: Object) -> Object:
        _check(budget)
        status = budget["status"]
        status["disruptionsAllowed"] -= 1
        if not status["disruptionsAllowed"]:
            found = status.setdefault("conditions", [])
            seen = status.get("observedGeneration")
            conditions.set_condition(
                found, "DisruptionAllowed", "False", "InsufficientPods", "", observedGeneration=seen
            )
            for each in found:
                each.setdefault("message", "")  # always there in conditions of this kind
        status.setdefault("disruptedPods", {})[pod["metadata"]["name"]] = now()
        return budget

    write = Write(_resource(call), call.info.namespace, name, call.user, "status", dry_run, admitted=True)
    await call.parts.registry.update(write, take, prepare=lambda new, old: None, validate=lambda new, old: [])


def _check(budget: Object) -> None:
    metadata, status = budget["metadata"], budget.setdefault("status", {})
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _still_processed(name)
    allowed = status.setdefault("disruptionsAllowed", 0)
    if allowed < 0:
        raise forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > MOST_DISRUPTED:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("policy", "poddisruptionbudget", name, text)
    if allowed:
        return
    condition = conditions.find(budget, "DisruptionAllowed") or {}
    refused = condition.get("status") == "False" and condition.get("message")
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    text = f"The disruption budget {name} does not allow evicting pods currently"
    if refused and condition.get("reason") == "SyncFailed":
        text += f" because it failed sync: {condition['message']}"
    elif healthy <= desired:
        text = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
    elif refused:
        text += f" ({condition.get('reason', '')}): {condition['message']}"
    raise _too_many(text, 0)


def _still_processed(name: str) -> ApiError:
    return _too_many(f"The disruption budget {name} is still being processed by the server.", 10)


def _too_many(text: str, seconds: int) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": text}]}
    error = too_many_requests(_VIOLATES, seconds, details)
    if not seconds:
        error.details = details
    return error


async def _tell(call: Call, write: Write, deletion: DeleteOptions) -> None:
    """Write into the pod's status why it goes, so that its Job, say, need not count it as failed."""

    def mark(pod: Object) -> Object:
        metadata = pod["metadata"]
        for what, asked, found, done in (
            ("UID", deletion.uid, metadata["uid"], "deleted and then recreated"),
            ("ResourceVersion", deletion.revision, metadata["resourceVersion"], "modified"),
        ):
            if asked and asked != found:
                why = f"the {what} in the precondition ({asked}) does not match the {what} in record ({found}). "
                raise conflict("", "Pod", metadata["name"], f"{why}The object might have been {done}")
        set_pod_condition(pod, "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting")
        return pod

    telling = Write(call.resource, write.namespace, write.name, call.user, "status", admitted=True)
    data, _ = await call.parts.registry.update(
        telling, mark, prepare=lambda new, old: None, validate=lambda new, old: []
    )
    if deletion.revision:
        deletion.revision = orjson.loads(data)["metadata"]["resourceVersion"]  # it was us who changed it
