"""What must hold of the numbers a controller writes into a workload's status."""

from __future__ import annotations

from typing import NamedTuple

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, not_negative


class Counts(NamedTuple):
    """Which numbers a status has; ``parts`` may not exceed ``replicas``, and only grow the ``growing``."""

    numbers: tuple[str, ...]
    parts: tuple[str, ...] = ()
    growing: tuple[str, ...] = ("collisionCount",)
    ready: str = "readyReplicas"  # as the complaint about availableReplicas names it


DEPLOYMENT = Counts(
    (
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ),
    ("updatedReplicas", "readyReplicas", "availableReplicas"),
)
REPLICA_SET = Counts(
    (
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ),
    ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    (),
)
REPLICATION_CONTROLLER = Counts(
    ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"),
    ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    (),
)
STATEFUL_SET = Counts(
    (
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ),
    ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
    ready="status.readyReplicas",
)
DAEMON_SET = Counts(
    (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ),
)


def validate(counts: Counts, status: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for name in counts.numbers:
        causes += not_negative(f"status.{name}", status.get(name))
    total = status.get("replicas") or 0
    for name in counts.parts:
        part = status.get(name) or 0
        if part > total:
            causes.append(invalid(f"status.{name}", part, "cannot be greater than status.replicas"))
    available = status.get("availableReplicas") or 0
    if counts.parts and available > (status.get("readyReplicas") or 0):
        causes.append(invalid("status.availableReplicas", available, f"cannot be greater than {counts.ready}"))
    return causes


def change(counts: Counts, new: Object, old: Object) -> list[FieldError]:
    return [
        invalid(f"status.{name}", new.get(name) or 0, "cannot be decremented")
        for name in counts.growing
        if name in old and new.get(name, -1) < old[name]
    ]
