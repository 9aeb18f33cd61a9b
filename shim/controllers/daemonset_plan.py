"""On which nodes does a DaemonSet need a pod, which pods are to go, and what is its status? Pure."""

from __future__ import annotations

import copy
import datetime
from dataclasses import dataclass, field

from shim.api import placement
from shim.api.meta import Object
from shim.controllers.deployment_rollout import scaled
from shim.controllers.pod_readiness import is_available, is_deleted, is_finished, is_ready, phase
from shim.controllers.status_write import without_zeros

REVISION_LABEL = "controller-revision-hash"
GENERATION_LABEL = "pod-template-generation"
GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
# a daemon stays on a node in trouble and starts on one that is not ready yet: it may be what makes it ready
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@dataclass(slots=True)
class DaemonPlan:
    """Nodes that get a pod, pods that go, and of these the ones that failed or ended, which is told."""

    create: list[str] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    ended: list[tuple[str, Object]] = field(default_factory=list)


def with_tolerations(spec: Object) -> Object:
    """The pod's spec with the tolerations every daemon has."""
    wanted = [*_TOLERATED, _NETWORK] if spec.get("hostNetwork") else list(_TOLERATED)
    added = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in wanted]
    own = [each for each in spec.get("tolerations") or () if not any(_same(each, other) for other in added)]
    return {**spec, "tolerations": own + added}


def _same(one: Object, other: Object) -> bool:
    return (
        all((one.get(name) or "") == (other.get(name) or "") for name in ("key", "effect", "value"))
        and (one.get("operator") or "Equal") == other["operator"]
    )


def daemon_template(daemon_set: Object, revision_hash: str) -> Object:
    """The template of today's pods, not yet for any node."""
    template = copy.deepcopy(daemon_set["spec"]["template"])
    template["spec"] = with_tolerations(template["spec"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    generation = (daemon_set["metadata"].get("annotations") or {}).get(GENERATION_ANNOTATION)
    if generation is not None:
        labels[GENERATION_LABEL] = generation
    labels[REVISION_LABEL] = revision_hash
    return dict(template)


def pinned(template: Object, node: str) -> Object:
    """The template for one node: required node affinity names it, the scheduler does the rest."""
    field_term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = copy.deepcopy(template["spec"].get("affinity") or {})
    affinity.setdefault("nodeAffinity", {})["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [field_term]
    }
    return {**template, "spec": {**template["spec"], "affinity": affinity}}


def node_of(pod: Object) -> str | None:
    """The node the pod runs on or is pinned to."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for each in term.get("matchFields") or ():
            if each["key"] == "metadata.name" and each["operator"] == "In" and len(each["values"]) == 1:
                return str(each["values"][0])
    return None


def decisive(node: Object) -> tuple[object, ...]:
    """All of a node that eligibility depends on."""
    metadata = node["metadata"]
    return metadata["name"], metadata.get("labels"), node["spec"].get("taints")


def eligibility(daemon_set: Object, node: Object) -> tuple[bool, bool]:
    """(should a pod start here, may one that runs here stay)."""
    spec = with_tolerations(daemon_set["spec"]["template"]["spec"])
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]) or not placement.selected(node, spec):
        return False, False
    taints = node["spec"].get("taints") or ()
    if placement.untolerated(taints, spec["tolerations"], ("NoExecute", "NoSchedule")):
        return False, not placement.untolerated(taints, spec["tolerations"], ("NoExecute",))
    return True, True


def by_node(pods: list[Object]) -> dict[str, list[Object]]:
    """Pods by node, without those that have ended and are on their way out; the placed and oldest first."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        if is_finished(pod) and is_deleted(pod):
            continue
        node = node_of(pod)
        if node is not None:
            found.setdefault(node, []).append(pod)
    for on_node in found.values():
        on_node.sort(key=_age)
    return found


def _age(pod: Object) -> tuple[bool, str, str]:
    metadata = pod["metadata"]
    return not pod["spec"].get("nodeName"), metadata.get("creationTimestamp") or "", metadata["name"]


def plan_placement(
    daemon_set: Object,
    nodes: list[Object],
    pods: dict[str, list[Object]],
    revision_hash: str,
    backing_off: set[str],
    at: datetime.datetime,
) -> DaemonPlan:
    """One pod on every eligible node, none elsewhere; what failed is replaced, unless that is tried too often."""
    plan = DaemonPlan()
    for node in nodes:
        name = node["metadata"]["name"]
        should_run, may_stay = eligibility(daemon_set, node)
        here = pods.get(name)
        if should_run and here is None:
            plan.create.append(name)
        elif may_stay:
            _plan_node(daemon_set, name, here or [], should_run, revision_hash, name in backing_off, at, plan)
        else:
            plan.delete.extend(pod for pod in here or () if not is_deleted(pod))
    known = {node["metadata"]["name"] for node in nodes}
    for name, here in pods.items():
        if name not in known:
            plan.delete.extend(pod for pod in here if not pod["spec"].get("nodeName") and not is_deleted(pod))
    return plan


def _plan_node(
    daemon_set: Object,
    node: str,
    here: list[Object],
    should_run: bool,
    revision_hash: str,
    backing_off: bool,
    at: datetime.datetime,
    plan: DaemonPlan,
) -> None:
    running = []
    for pod in here:
        if is_deleted(pod):
            continue
        if is_finished(pod):
            if phase(pod) == "Failed" and backing_off:
                continue
            plan.ended.append((node, pod))
            plan.delete.append(pod)
        else:
            running.append(pod)
    if surge_of(daemon_set, 1) == 0:
        plan.delete.extend(running[1:])
        return
    if not running and should_run and here:
        plan.create.append(node)
        return
    new = [pod for pod in running if is_updated(daemon_set, pod, revision_hash)]
    old = [pod for pod in running if pod not in new]
    plan.delete.extend(new[1:] + old[1:])
    if new and old:
        minimum = int(daemon_set["spec"].get("minReadySeconds") or 0)
        if not is_ready(old[0]) or is_available(new[0], minimum, at):
            plan.delete.append(old[0])


def is_updated(daemon_set: Object, pod: Object, revision_hash: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    generation = (daemon_set["metadata"].get("annotations") or {}).get(GENERATION_ANNOTATION)
    return labels.get(REVISION_LABEL) == revision_hash or (
        generation is not None and labels.get(GENERATION_LABEL) == generation
    )


def _rolling(daemon_set: Object) -> Object | None:
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return None
    return strategy.get("rollingUpdate") or {}


def surge_of(daemon_set: Object, desired: int) -> int:
    rolling = _rolling(daemon_set)
    return scaled((rolling or {}).get("maxSurge") or 0, desired, up=True)


def plan_update(
    daemon_set: Object, nodes: list[Object], pods: dict[str, list[Object]], revision_hash: str, at: datetime.datetime
) -> DaemonPlan:
    """The pods of an old revision that may be replaced now."""
    rolling, plan = _rolling(daemon_set), DaemonPlan()
    if rolling is None:
        return plan
    desired = sum(eligibility(daemon_set, node)[0] for node in nodes)
    surge = surge_of(daemon_set, desired)
    unavailable = scaled(1 if rolling.get("maxUnavailable") is None else rolling["maxUnavailable"], desired, up=True)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    if surge == 0:
        plan.delete = _replaceable(daemon_set, pods, revision_hash, unavailable, at)
    else:
        _surge(daemon_set, nodes, pods, revision_hash, surge, desired, at, plan)
    return plan


def _new_and_old(
    daemon_set: Object, here: list[Object], revision_hash: str
) -> tuple[Object | None, Object | None] | None:
    """The updated pod and the old one on a node; None when there are several of a kind."""
    living = [pod for pod in here if not is_deleted(pod)]
    new = [pod for pod in living if is_updated(daemon_set, pod, revision_hash)]
    old = [pod for pod in living if pod not in new]
    if len(new) > 1 or len(old) > 1:
        return None
    return (new[0] if new else None), (old[0] if old else None)


def _replaceable(
    daemon_set: Object, pods: dict[str, list[Object]], revision_hash: str, most: int, at: datetime.datetime
) -> list[Object]:
    """Old pods that do not work go at once; of those that do, as many as may be unavailable."""
    minimum = int(daemon_set["spec"].get("minReadySeconds") or 0)
    down, broken, candidates = 0, [], []
    for name in sorted(pods):
        found = _new_and_old(daemon_set, pods[name], revision_hash)
        new, old = found if found is not None else (None, None)
        if new is not None and old is None:
            down += not is_available(new, minimum, at)
        elif old is not None and new is None:
            if is_available(old, minimum, at):
                candidates.append(old)
            else:
                broken.append(old)
                down += 1
        else:
            down += 1
    return broken + candidates[: max(most - down, 0)]


def _surge(
    daemon_set: Object,
    nodes: list[Object],
    pods: dict[str, list[Object]],
    revision_hash: str,
    most: int,
    desired: int,
    at: datetime.datetime,
    plan: DaemonPlan,
) -> None:
    """Start the new pod beside the old one, which goes when the new one is available."""
    minimum = int(daemon_set["spec"].get("minReadySeconds") or 0)
    wanted = {node["metadata"]["name"] for node in nodes if eligibility(daemon_set, node)[0]}
    surging, available = 0, 0
    candidates: list[tuple[str, Object]] = []
    unwanted: list[tuple[str, Object]] = []
    for name in sorted(pods):
        found = _new_and_old(daemon_set, pods[name], revision_hash)
        if found is None:
            surging += 1
            continue
        new, old = found
        either = old if old is not None else new
        available += either is not None and is_available(either, minimum, at)
        if old is None:
            continue
        if new is not None:
            if is_available(new, minimum, at):
                plan.delete.append(old)
            else:
                surging += 1
        elif is_available(old, minimum, at):
            (candidates if name in wanted else unwanted).append((name, old))
        elif name in wanted:
            plan.create.append(name)
        else:
            plan.delete.append(old)
    plan.delete.extend(pod for _, pod in unwanted[: max(available - desired, 0)])
    plan.create.extend(name for name, _ in candidates[: max(most - surging, 0)])


def plan_status(
    daemon_set: Object, nodes: list[Object], pods: dict[str, list[Object]], revision_hash: str, at: datetime.datetime
) -> Object:
    """How many nodes should have a pod, have one, and have a ready, available and updated one."""
    minimum = int(daemon_set["spec"].get("minReadySeconds") or 0)
    counts = dict.fromkeys(("current", "misscheduled", "desired", "ready", "updated", "available"), 0)
    for node in nodes:
        here = pods.get(node["metadata"]["name"]) or []
        if not eligibility(daemon_set, node)[0]:
            counts["misscheduled"] += bool(here)
            continue
        counts["desired"] += 1
        if here:
            counts["current"] += 1
            counts["ready"] += is_ready(here[0])
            counts["available"] += is_available(here[0], minimum, at)
            counts["updated"] += is_updated(daemon_set, here[0], revision_hash)
    before = daemon_set.get("status") or {}
    return without_zeros(
        {
            "currentNumberScheduled": counts["current"],
            "numberMisscheduled": counts["misscheduled"],
            "desiredNumberScheduled": counts["desired"],
            "numberReady": counts["ready"],
            "observedGeneration": daemon_set["metadata"].get("generation", 0),
            "updatedNumberScheduled": counts["updated"],
            "numberAvailable": counts["available"],
            "numberUnavailable": counts["desired"] - counts["available"],
            "collisionCount": before.get("collisionCount"),
            "conditions": before.get("conditions"),
        },
        keep=("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"),
    )
