"""What does a StatefulSet do next, and what is its status? Pure.

OrderedReady: one pod at a time, each only when all before it are available. Parallel: all at once. Updates replace pods
from the highest ordinal down, one at a time or as many as ``maxUnavailable`` allows, down to the partition.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

from shim.api.meta import Object
from shim.controllers.deployment_rollout import scaled
from shim.controllers.pod_readiness import is_available, is_deleted, is_finished, is_ready, phase
from shim.controllers.statefulset_identity import (
    identity_matches,
    new_pod,
    ordinal_of,
    ordinals,
    revision_of,
    storage_matches,
)
from shim.controllers.status_write import without_zeros


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do to one pod. ``claims`` makes what is missing of its storage, ``repair`` its identity too."""

    verb: Literal["create", "delete", "claims", "repair"]
    pod: Object
    for_update: bool = False


@dataclass(frozen=True, slots=True)
class Pods:
    """A set's pods: by ordinal those that should exist, and highest first those that should not."""

    replicas: dict[int, Object]
    condemned: list[Object]


def sort_pods(stateful_set: Object, pods: list[Object]) -> Pods:
    name, wanted = stateful_set["metadata"]["name"], ordinals(stateful_set)
    numbered = [(number, pod) for pod in pods if (number := ordinal_of(pod, name)) is not None]
    replicas = {number: pod for number, pod in numbered if number in wanted}
    condemned = sorted((pair for pair in numbered if pair[0] not in wanted), key=lambda pair: -pair[0])
    return Pods(replicas, [pod for _, pod in condemned])


def plan_actions(
    stateful_set: Object, pods: list[Object], current: Object, update: Object, at: datetime.datetime
) -> list[Action]:
    """The next actions, in order."""
    if is_deleted(stateful_set):
        return []
    ordered = stateful_set["spec"].get("podManagementPolicy") != "Parallel"
    minimum = int(stateful_set["spec"].get("minReadySeconds") or 0)
    found = sort_pods(stateful_set, pods)
    actions: list[Action] = []
    for number in ordinals(stateful_set):
        pod = found.replicas.get(number)
        if pod is None:
            actions.append(Action("create", new_pod(stateful_set, current, update, number)))
            if ordered:
                return actions
            continue
        waits = _plan_replica(stateful_set, pod, number, actions, minimum, at)
        if waits and ordered:
            return actions
    stop = _plan_condemned(found, actions, ordered, minimum, at)
    if stop or any(action.verb in ("create", "delete") for action in actions if ordered):
        return actions
    return actions + plan_update(stateful_set, found, update, minimum, at)


def _plan_replica(
    stateful_set: Object, pod: Object, number: int, actions: list[Action], minimum: int, at: datetime.datetime
) -> bool:
    """What this pod needs; whether those after it must wait for it."""
    if is_finished(pod):
        if not is_deleted(pod):
            actions.append(Action("delete", pod))
        return True
    if phase(pod) == "Pending":
        actions.append(Action("claims", pod))
    waits = is_deleted(pod) or phase(pod) != "Running" or not is_available(pod, minimum, at)
    if not is_deleted(pod) and not (identity_matches(pod, stateful_set) and storage_matches(pod, stateful_set, number)):
        actions.append(Action("repair", pod))
    return waits


def _plan_condemned(found: Pods, actions: list[Action], ordered: bool, minimum: int, at: datetime.datetime) -> bool:
    """Remove what is too much from the highest down; whether the rest must wait."""
    unhealthy = next(
        (
            pod
            for pod in [*(found.replicas[number] for number in sorted(found.replicas)), *reversed(found.condemned)]
            if not is_available(pod, minimum, at) or is_deleted(pod)
        ),
        None,
    )
    for pod in found.condemned:
        if is_deleted(pod):
            if ordered:
                return True
            continue
        healthy = phase(pod) == "Running" and is_available(pod, minimum, at)
        if ordered and not healthy and pod is not unhealthy:
            return True  # another one is broken: do not take a second
        actions.append(Action("delete", pod))
        if ordered:
            return True
    return False


def plan_update(stateful_set: Object, found: Pods, update: Object, minimum: int, at: datetime.datetime) -> list[Action]:
    """Replace the highest pod of an old revision, when all above it are available."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    rolling = strategy.get("rollingUpdate") or {}
    partition = int(rolling.get("partition") or 0)
    numbers = list(ordinals(stateful_set))
    if rolling.get("maxUnavailable") is not None:
        away = max(1, scaled(rolling["maxUnavailable"], len(numbers), up=False))
        return _update_several(found, numbers, partition, update, away, minimum, at)
    for number in reversed(numbers[partition:]):
        pod = found.replicas.get(number)
        if pod is None:
            return []  # only just created
        if revision_of(pod) != update["metadata"]["name"] and not is_deleted(pod):
            return [Action("delete", pod, for_update=True)]
        if is_deleted(pod) or not is_available(pod, minimum, at):
            return []
    return []


def _update_several(
    found: Pods, numbers: list[int], partition: int, update: Object, away: int, minimum: int, at: datetime.datetime
) -> list[Action]:
    """Replace the highest pods of an old revision; no more than ``away`` are unavailable together, for any reason."""
    pods = [found.replicas.get(number) for number in numbers]
    away -= sum(pod is None or is_deleted(pod) or not is_available(pod, minimum, at) for pod in pods)
    old = [
        pod
        for pod in reversed(pods[partition:])
        if pod is not None and revision_of(pod) != update["metadata"]["name"] and not is_deleted(pod)
    ]
    return [Action("delete", pod, for_update=True) for pod in old[: max(0, away)]]


def plan_status(
    stateful_set: Object,
    pods: list[Object],
    actions: list[Action],
    current: Object,
    update: Object,
    collisions: int,
    at: datetime.datetime,
) -> Object:
    """The status from the pods that are, less those that the actions take away for an update."""
    minimum = int(stateful_set["spec"].get("minReadySeconds") or 0)
    found = sort_pods(stateful_set, pods)
    seen = [*found.replicas.values(), *found.condemned]
    staying = [pod for pod in seen if not is_deleted(pod)]
    current_name, update_name = current["metadata"]["name"], update["metadata"]["name"]
    replicas = int(stateful_set["spec"]["replicas"])
    status = {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "replicas": len(seen),
        "readyReplicas": sum(phase(pod) == "Running" and is_ready(pod) for pod in seen),
        "currentReplicas": sum(revision_of(pod) == current_name for pod in staying)
        - sum(action.for_update for action in actions),
        "updatedReplicas": sum(revision_of(pod) == update_name for pod in staying),
        "currentRevision": current_name,
        "updateRevision": update_name,
        "collisionCount": collisions,
        "availableReplicas": sum(phase(pod) == "Running" and is_available(pod, minimum, at) for pod in seen),
    }
    strategy = (stateful_set["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    complete = status["updatedReplicas"] == status["readyReplicas"] == status["replicas"] == replicas
    if strategy == "RollingUpdate" and complete:
        status["currentReplicas"], status["currentRevision"] = status["updatedReplicas"], update_name
    conditions = (stateful_set.get("status") or {}).get("conditions")
    if conditions:
        status["conditions"] = conditions
    return without_zeros(status, keep=("replicas", "availableReplicas", "collisionCount"))
