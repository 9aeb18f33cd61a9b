"""A pod's resources changed while it runs: may it have what it asks for now, and what is still to be done? Pure.

What a pod asks for becomes its *allocation* when the node has room; what its containers really run with is what
each run was *given*, kept in a label of the run. A resize is pending until it is allocated, and in progress until
every run was given its allocation. See KEP-1287, in-place update of pod resources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nodeagent.engine.contract import Resources
from nodeagent.kubelet import resources
from nodeagent.kubelet.names import ContainerKind, containers_of, is_sidecar
from nodeagent.kubelet.observed import Observed, Run
from nodeagent.kubelet.resources import Amounts
from shim.api import quantity
from shim.api.meta import Object

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
CONDITIONS = (PENDING, IN_PROGRESS)
NAMES = ("cpu", "memory")  # all that can be resized
AROUND = "around"  # where the resources of a run have the pod's limits, as far as it has none of its own
OF_POD = ""  # where an allocation has the resources of the pod as a whole

Allocation = Mapping[str, Object]
"""Resources by the name of the container."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the node does not give a pod what it asks for: never (Infeasible), or not now (Deferred)."""

    reason: Literal["Infeasible", "Deferred"]
    message: str


@dataclass(frozen=True, slots=True)
class Resizing:
    """How far the newest resize has come: what the pod's conditions tell."""

    refused: Refused | None = None
    refused_generation: int = 0
    in_progress: bool = False
    error: str = ""  # why it goes on for longer
    generation: int = 0  # of the resize in progress


def allocation_of(pod: Object) -> dict[str, Object]:
    """The resources of each container that can be resized, and of the whole pod."""
    found = {c["name"]: c.get("resources") or {} for kind, c in containers_of(pod) if _resizable(kind, c)}
    return {**found, OF_POD: pod["spec"].get("resources") or {}}


def _resizable(kind: ContainerKind, container: Object) -> bool:
    return kind == "containers" or (kind == "initContainers" and is_sidecar(kind, container))


def with_allocation(pod: Object, allocation: Allocation) -> Object:
    """The pod as it would read had it asked for just what it has; the same object where it did."""
    if allocation_of(pod) == allocation:
        return pod

    def changed(container: Object) -> Object:
        had = allocation.get(container["name"])
        return container if had is None else {**container, "resources": had}

    spec = dict(pod["spec"])
    for kind in ("initContainers", "containers"):
        if kind in spec:
            spec[kind] = [changed(c) if _resizable(kind, c) else c for c in spec[kind]]
    if whole := allocation.get(OF_POD):
        spec["resources"] = whole
    else:
        spec.pop("resources", None)
    return {**pod, "spec": spec}


def same(one: Object, other: Object) -> bool:
    """Whether two resources are the same amounts, however they are written."""
    return one == other or _amounts(one) == _amounts(other)


def _amounts(told: Object) -> dict[tuple[str, str], quantity.Quantity]:
    return {
        (which, name): quantity.parse(str(told[which][name]))
        for which in ("requests", "limits", AROUND)
        for name in NAMES
        if name in (told.get(which) or {})
    }


def refusal(wanted: Object, others: Amounts, allocatable: Mapping[str, str]) -> Refused | None:
    """Whether the node has room for what ``wanted`` requests beside what all ``others`` do."""
    needs = resources.pod_totals(wanted, "requests")
    for name in NAMES:
        if name not in needs:
            continue
        room, used = quantity.parse(allocatable[name]), others.get(name, quantity.Quantity(0))
        asked, taken, whole = (resources.whole_number(name, each) for each in (needs[name], used, room))
        if asked > whole:
            numbers = f"requested: {asked}, capacity: {whole}"
            return Refused("Infeasible", f"Node didn't have enough capacity: {name}, {numbers}")
        if asked + taken > whole:
            numbers = f"requested: {asked}, used: {taken}, capacity: {whole}"
            return Refused("Deferred", f"Node didn't have enough resource: {name}, {numbers}")
    return None


def grows(had: Object, wants: Object) -> bool:
    """Whether a pod requests more of anything than it did."""
    before, after = resources.pod_totals(had, "requests"), resources.pod_totals(wants, "requests")
    return any(after[name] > before.get(name, quantity.Quantity(0)) for name in NAMES if name in after)


def without_swap(had: Object, wants: Object, swap: resources.Swap) -> Refused | None:
    """A container that swaps, or would, has to be started anew for other requests of memory."""
    before = {container["name"]: container for _, container in containers_of(had)}
    for _, container in containers_of(wants):
        old = before.get(container["name"])
        if old is None or _requested_memory(old) == _requested_memory(container):
            continue
        policies = {policy["resourceName"]: policy["restartPolicy"] for policy in old.get("resizePolicy") or ()}
        if policies.get("memory") != "RestartContainer" and (swap.limit(had, old) or swap.limit(wants, container)):
            return Refused("Infeasible", "In-place resize of containers with swap is not supported.")
    return None


def _requested_memory(container: Object) -> quantity.Quantity | None:
    return _amounts(container.get("resources") or {}).get(("requests", "memory"))


def due(pod: Object, container: Object) -> Object:
    """The resources a run of the container is to have: its own, and the pod's limits where it has none itself."""
    own = container.get("resources") or {}
    limits = ((pod["spec"].get("resources") or {}).get("limits") or {}).items()
    shared = {name: limit for name, limit in limits if name in NAMES or name.startswith(resources.HUGE_PAGES)}
    around = {name: limit for name, limit in shared.items() if name not in (own.get("limits") or {})}
    return {**own, AROUND: around} if around else own


def due_text(pod: Object, container: Object) -> str:
    """The same, as a label of the run keeps what it was given."""
    return json.dumps(due(pod, container), sort_keys=True, separators=(",", ":"))


def given(run: Run, container: Object) -> Object:
    """What the run has of its own; a run that says nothing has what its container has."""
    return {key: value for key, value in _given(run, container).items() if key != AROUND}


def given_limits(run: Run, container: Object) -> Resources:
    """Those in force."""
    return limits_of(_given(run, container))


def limits_of(told: Object, swap: int = 0) -> Resources:
    """The cgroup limits of a container that is to have those resources."""
    limits = {**(told.get(AROUND) or {}), **(told.get("limits") or {})}
    return resources.container_limits({"resources": {**told, "limits": limits}}, swap)


def _given(run: Run, container: Object) -> Object:
    known: Object = json.loads(run.given) if run.given else container.get("resources") or {}
    return known


def differs(pod: Object, run: Run, container: Object) -> bool:
    """Whether a running container is yet to be given its allocation."""
    if not run.given or run.phase != "running" or run.given == due_text(pod, container):
        return False
    return not same(_given(run, container), due(pod, container))


def needs_restart(pod: Object, run: Run, container: Object) -> bool:
    """Whether its resizePolicy wants a new start for a change of these resources."""
    policies = {policy["resourceName"]: policy["restartPolicy"] for policy in container.get("resizePolicy") or ()}
    before, after = _amounts(_given(run, container)), _amounts(due(pod, container))
    changed = {key[1] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return any(policies.get(name) == "RestartContainer" for name in changed)


def running_unlike(pod: Object, observed: Observed) -> list[tuple[Run, Object]]:
    """Runs that were given something else than is allocated, with their containers."""
    found = []
    for kind, container in containers_of(pod):
        run = observed.latest(container["name"])
        if _resizable(kind, container) and run is not None and differs(pod, run, container):
            found.append((run, container))
    return found


def pod_target(pod: Object, observed: Observed) -> Resources:
    """The limits around all containers: while some are yet to change, wide enough for before and after."""
    known = observed.sandbox.resources if observed.sandbox else None
    target = resources.pod_limits(pod, known.pids_limit if known else None)
    return wider(known, target) if known and running_unlike(pod, observed) else target


def wider(one: Resources, other: Resources) -> Resources:
    """Limits that allow whatever either allows."""

    def most(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else max(a, b)

    return Resources(
        cpu_shares=max(one.cpu_shares or 0, other.cpu_shares or 0),
        cpu_quota_us=most(one.cpu_quota_us, other.cpu_quota_us),
        memory_limit=most(one.memory_limit, other.memory_limit),
        pids_limit=other.pids_limit,
        huge_pages=other.huge_pages,
    )


def work_left(pod: Object, observed: Observed) -> bool:
    """Whether limits can be changed now without a restart of anything."""
    if observed.sandbox is None or observed.sandbox.resources is None:
        return False
    if any(not needs_restart(pod, run, container) for run, container in running_unlike(pod, observed)):
        return True
    return observed.sandbox.resources != pod_target(pod, observed)


def shrinks_below_usage(name: str, before: int | None, after: int | None, usage: int) -> str:
    """A memory limit that would kill at once is not set; "" when it would not."""
    if after is None or (before is not None and after >= before) or usage < after:
        return ""
    whose = f'container "{name}"' if name else "pod"
    return f"attempting to set {whose} memory limit ({after}) below current usage ({usage})"


def summary(pod: Object, generation: int, error: str = "") -> str:
    """The resources of every container, as events tell them."""
    told: Object = {}
    for kind in ("initContainers", "containers"):
        if listed := [{"name": c["name"], "resources": c.get("resources") or {}} for c in pod["spec"].get(kind) or ()]:
            told[kind] = listed
    told["generation"] = generation
    if error:
        told["error"] = error
    return json.dumps(told, separators=(",", ":"))
