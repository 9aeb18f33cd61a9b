"""pods/eviction: delete this pod, unless that would break a promise (PodDisruptionBudget)."""

from __future__ import annotations

import orjson
from aiohttp import web

from shim.api import conditions, selectors
from shim.api.meta import Object, now
from shim.api.status import ApiError, bad_request, forbidden, not_found, too_many_requests
from shim.resources.strategy import Resource
from shim.server import errors
from shim.server.bodies import read_body
from shim.server.options import DeleteOptions, WriteOptions
from shim.server.parts import Call
from shim.server.registry import Write
from shim.server.responses import respond
from shim.server.subresources.pod_conditions import set_pod_condition

MOST_DISRUPTED = 2000  # evictions the disruption controller may be behind
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


async def evict(call: Call) -> web.Response:
    """POST .../pods/NAME/eviction."""
    options = WriteOptions.of(call.query, "CreateOptions")
    body = await read_body(call)
    eviction = body.decode(call, "Eviction", "policy/v1", options)
    name = call.info.name
    if eviction["metadata"].get("name") != name:
        raise bad_request("name in URL does not match name in Eviction object")
    deletion = DeleteOptions.of(call.query, eviction.get("deleteOptions") or {})
    deletion.dry_run = deletion.dry_run or options.dry_run
    entry = call.parts.cache.get(call.key)
    if entry is None:
        raise not_found("", "pods", name)
    pod = entry.decode()
    if not _is_disrupted_already(pod):
        budgets = _budgets_of(call, pod)
        if len(budgets) > 1:
            text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise ApiError(500, "", text)
        for budget in budgets:
            await _spend(call, budget, pod, deletion.dry_run)
    write = Write(call.resource, call.info.namespace, name, call.user, "eviction")
    if not deletion.dry_run:
        await _tell(call, write, deletion)
    await call.parts.removal.delete(write, deletion)
    return respond(orjson.dumps(errors.success(code=201)), 201, warnings=call.warnings)


def _is_disrupted_already(pod: Object) -> bool:
    """Pods that serve nobody may always go."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


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


async def _spend(call: Call, budget: Object, pod: Object, dry_run: bool) -> None:
    """Take one disruption from the budget. Raises 429 when it has none."""
    status, name = budget.get("status") or {}, budget["metadata"]["name"]
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not conditions.is_true(pod, "Ready"):
        always = (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        if always or (healthy >= desired and desired > 0):
            return  # it does not count towards the healthy ones

    def take(budget: Object) -> Object:
        _check(budget)
        status = budget["status"]
        status["disruptionsAllowed"] -= 1
        status.setdefault("disruptedPods", {})[pod["metadata"]["name"]] = now()
        return budget

    write = Write(_resource(call), call.info.namespace, name, call.user, "status", dry_run)
    await call.parts.registry.update(write, take, prepare=lambda new, old: None, validate=lambda new, old: [])


def _check(budget: Object) -> None:
    metadata, status = budget["metadata"], budget.setdefault("status", {})
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        text = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(text, 10)
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
        if deletion.uid and deletion.uid != metadata["uid"]:
            return pod  # the deletion itself refuses
        set_pod_condition(pod, "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting")
        return pod

    telling = Write(call.resource, write.namespace, write.name, call.user, "status")
    if deletion.revision:
        entry = call.parts.cache.get(write.key)
        if entry is None or str(entry.revision) != deletion.revision:
            return
    data, _ = await call.parts.registry.update(
        telling, mark, prepare=lambda new, old: None, validate=lambda new, old: []
    )
    if deletion.revision:
        deletion.revision = orjson.loads(data)["metadata"]["resourceVersion"]
