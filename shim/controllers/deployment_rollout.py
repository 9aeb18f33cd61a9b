"""How many pods should each of a Deployment's ReplicaSets have next?

Each plan is a list of (ReplicaSet, replicas): the next safe step, not the final state. What has not been seen to be
available does not count, so that a rollout never goes below ``replicas - maxUnavailable``. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shim.api.meta import Object
from shim.controllers.deployment_revisions import DESIRED_REPLICAS, MAX_REPLICAS, annotations_of, by_age


@dataclass(frozen=True, slots=True)
class Scale:
    """Give this ReplicaSet so many replicas."""

    replica_set: Object
    replicas: int


def scaled(value: int | str, of: int, *, up: bool) -> int:
    """A number, or a percentage of ``of`` rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        part = int(value[:-1]) * of
        return -(-part // 100) if up else part // 100
    return int(value)


def is_rolling(deployment: Object) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def fenceposts(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as pods. Both zero would never move: then one may be unavailable."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    replicas = deployment["spec"]["replicas"]
    surge = scaled(_given(rolling.get("maxSurge")), replicas, up=True)
    unavailable = scaled(_given(rolling.get("maxUnavailable")), replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def _given(value: int | str | None) -> int | str:
    return 0 if value is None else value


def spec_replicas(sets: list[Object]) -> int:
    return sum(each["spec"]["replicas"] for each in sets)


def status_count(sets: list[Object], field: str) -> int:
    return sum((each.get("status") or {}).get(field, 0) for each in sets)


def available(replica_set: Object) -> int:
    """Pods known to be available and not about to go: a status written before the last scale-down counts too many."""
    told: int = (replica_set.get("status") or {}).get("availableReplicas", 0)
    return min(told, int(replica_set["spec"]["replicas"]))


def active(sets: list[Object]) -> list[Object]:
    return [each for each in sets if each["spec"]["replicas"] > 0]


def first_size(deployment: Object, old: list[Object]) -> int:
    """How many replicas the new ReplicaSet begins with."""
    return grown_size(deployment, old, 0)


def grown_size(deployment: Object, others: list[Object], size: int) -> int:
    """How far the new ReplicaSet may grow: to the wanted size, within maxSurge of everything there is."""
    replicas: int = deployment["spec"]["replicas"]
    if not is_rolling(deployment):
        return replicas
    room = replicas + fenceposts(deployment)[0] - spec_replicas(others) - size
    return size + min(room, replicas - size) if room > 0 else size


def plan_rolling(deployment: Object, new: Object, old: list[Object]) -> list[Scale]:
    """One step of a rolling update: grow the new one, or else shrink the old ones."""
    replicas, size = deployment["spec"]["replicas"], new["spec"]["replicas"]
    target = replicas if size > replicas else grown_size(deployment, old, size)
    if target != size:
        return [Scale(new, target)]
    return shrink_old(deployment, new, active(old))


def shrink_old(deployment: Object, new: Object, old: list[Object]) -> list[Scale]:
    """Take away from the old ones what availability allows: first pods that do not work, oldest sets first."""
    least = deployment["spec"]["replicas"] - fenceposts(deployment)[1]
    not_yet = new["spec"]["replicas"] - available(new)
    allowed = spec_replicas([*old, new]) - least - not_yet
    if allowed <= 0:
        return []
    sizes = {each["metadata"]["uid"]: int(each["spec"]["replicas"]) for each in old}
    for each in by_age(old):
        broken = min(allowed, sizes[each["metadata"]["uid"]] - available(each))
        sizes[each["metadata"]["uid"]] -= broken
        allowed -= broken
    spare = sum(min(available(each), sizes[each["metadata"]["uid"]]) for each in old) + available(new) - least
    for each in by_age(old):
        taken = min(max(spare, 0), sizes[each["metadata"]["uid"]])
        sizes[each["metadata"]["uid"]] -= taken
        spare -= taken
    return [Scale(each, sizes[each["metadata"]["uid"]]) for each in by_age(old) if _differs(each, sizes)]


def _differs(each: Object, sizes: dict[str, int]) -> bool:
    return bool(each["spec"]["replicas"] != sizes[each["metadata"]["uid"]])


def old_pods_running(old: list[Object], pods: dict[str, list[Object]]) -> bool:
    """Whether a pod of an old revision may still be alive: Recreate waits for the last one."""
    if status_count(old, "replicas") > 0:
        return True
    phases = ((pod.get("status") or {}).get("phase") for each in old for pod in pods.get(each["metadata"]["uid"], ()))
    return any(phase not in ("Failed", "Succeeded") for phase in phases)


def is_scaling(deployment: Object, sets: list[Object]) -> bool:
    """Whether the Deployment's size has changed since its ReplicaSets were last sized."""
    for each in active(sets):
        desired = annotations_of(each).get(DESIRED_REPLICAS, "")
        if desired.isdigit() and int(desired) != deployment["spec"]["replicas"]:
            return True
    return False


def is_saturated(deployment: Object, new: Object | None) -> bool:
    """Whether the new ReplicaSet is all the Deployment needs."""
    if new is None:
        return False
    replicas = deployment["spec"]["replicas"]
    return bool(
        new["spec"]["replicas"] == replicas
        and annotations_of(new).get(DESIRED_REPLICAS) == str(replicas)
        and (new.get("status") or {}).get("availableReplicas", 0) == replicas
    )


def plan_scale(deployment: Object, new: Object | None, old: list[Object]) -> list[Scale]:
    """How a changed size is shared: by the one active ReplicaSet, or by all in proportion to their sizes."""
    replicas = deployment["spec"]["replicas"]
    everything = [*old, new] if new is not None else list(old)
    running = active(everything)
    if len(running) <= 1:
        only = running[0] if running else (new if new is not None else (by_age(old)[-1] if old else None))
        return [Scale(only, replicas)] if only is not None else []
    if is_saturated(deployment, new):
        return [Scale(each, 0) for each in active(old)]
    if not is_rolling(deployment):
        return []
    return _proportional(deployment, running)


def _proportional(deployment: Object, running: list[Object]) -> list[Scale]:
    replicas = deployment["spec"]["replicas"]
    surge = fenceposts(deployment)[0]
    to_add = (replicas + surge if replicas > 0 else 0) - spec_replicas(running)
    # the largest get the rest; of equals the newer one when growing, the older one when shrinking
    ordered = sorted(
        by_age(running)[::-1] if to_add > 0 else by_age(running), key=lambda each: -each["spec"]["replicas"]
    )
    sizes = {each["metadata"]["uid"]: int(each["spec"]["replicas"]) for each in ordered}
    added = 0
    if to_add != 0:
        for each in ordered:
            share = _share(deployment, each, surge)
            left = to_add - added
            share = 0 if left == 0 else (min(share, left) if to_add > 0 else max(share, left))
            sizes[each["metadata"]["uid"]] += share
            added += share
        largest = ordered[0]["metadata"]["uid"]
        sizes[largest] = max(sizes[largest] + to_add - added, 0)
    return [Scale(each, sizes[each["metadata"]["uid"]]) for each in ordered]


def _share(deployment: Object, each: Object, surge: int) -> int:
    """How much this ReplicaSet's size changes when the Deployment's largest allowed size does."""
    replicas, size = deployment["spec"]["replicas"], int(each["spec"]["replicas"])
    if replicas == 0:
        return -size
    written = annotations_of(each).get(MAX_REPLICAS, "")
    before = int(written) if written.isdigit() else 0
    before = before or (deployment.get("status") or {}).get("replicas", 0)
    if before == 0:
        return 0
    exact: float = size * (replicas + surge) / before
    return math.floor(exact + 0.5) - size
