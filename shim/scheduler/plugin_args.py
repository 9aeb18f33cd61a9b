"""What do the arguments of plugins change? A table of plugins; each reads its own, and refuses what it does not know.

Names, ranges and defaults are those of ``kubescheduler.config.k8s.io/v1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from shim.api.meta import Object
from shim.scheduler.filters import FILTERS, Filter, resources_fit_but, selected_and
from shim.scheduler.preemption import Candidates
from shim.scheduler.scores import (
    SCORES,
    Score,
    balanced,
    by_allocation,
    free,
    preferred_company,
    preferred_nodes_and,
    spread_only,
    used,
)
from shim.scheduler.volume_binding import PATIENCE

PREEMPTION = "DefaultPreemption"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class ConfigError(ValueError):
    """The configuration cannot be followed; the text says where and why."""


@dataclass(slots=True)
class Tuning:
    """What arguments have made of the plugins."""

    filters: dict[str, Filter] = field(default_factory=lambda: dict(FILTERS))
    scores: dict[str, Score] = field(default_factory=lambda: {name: score for name, (_, score) in SCORES.items()})
    spread: Sequence[Object] = ()  # constraints of pods that have none
    candidates: Candidates = field(default_factory=Candidates)
    bind_timeout: float = PATIENCE


def tune(tuning: Tuning, path: str, name: str, args: Object) -> None:
    """Take over the arguments of one plugin. Raises ConfigError."""
    told = {key: value for key, value in args.items() if key not in ("apiVersion", "kind")}
    if name in _READERS:
        known, read = _READERS[name]
        refuse_others(f"{path}.args", told, known)
        read(tuning, f"{path}.args", told)
    elif told:
        raise ConfigError(f"{path}: arguments of plugin {name} are not built")


def refuse_others(path: str, config: Object, known: Iterable[str]) -> None:
    """Raises ConfigError, which names the first field that is not known."""
    others = sorted(set(config) - set(known))
    if others:
        raise ConfigError(f"{path}.{others[0]}".lstrip(".") + " is not built")


def _within(path: str, args: Object, name: str, default: int, most: int) -> int:
    found = args.get(name)
    value = default if found is None else int(found)
    if not 0 <= value <= most:
        raise ConfigError(f"{path}.{name}: {value} is not in valid range [0-{most}]")
    return value


def _fit(tuning: Tuning, path: str, args: Object) -> None:
    names = frozenset(args.get("ignoredResources") or ())
    groups = frozenset(args.get("ignoredResourceGroups") or ())
    if wrong := [group for group in groups if "/" in group]:
        raise ConfigError(f"{path}.ignoredResourceGroups: {wrong[0]}: a group has no /")

    def ignored(resource: str) -> bool:
        group, extended, _ = resource.partition("/")
        return bool(extended) and (resource in names or group in groups)

    if names or groups:
        tuning.filters["NodeResourcesFit"] = resources_fit_but(ignored)
    tuning.scores["NodeResourcesFit"] = _allocation(path, args)


def _allocation(path: str, args: Object) -> Score:
    """What ``scoringStrategy`` of NodeResourcesFit means."""
    strategy = args.get("scoringStrategy") or {}
    where = f"{path}.scoringStrategy"
    refuse_others(where, strategy, ("type", "resources", "requestedToCapacityRatio"))
    resources = strategy.get("resources") or [{"name": "cpu"}, {"name": "memory"}]
    weights = {each["name"]: int(each.get("weight") or 1) for each in resources}
    kind = strategy.get("type") or "LeastAllocated"
    if kind == "RequestedToCapacityRatio":
        return by_allocation(_shaped((strategy.get(kind[0].lower() + kind[1:]) or {}).get("shape") or []), weights)
    rates = {"LeastAllocated": free, "MostAllocated": used}
    if kind not in rates:
        raise ConfigError(f"{where}.type: {kind} is not built")
    return by_allocation(rates[kind], weights)


def _shaped(shape: Sequence[Object]) -> Callable[[float], float]:
    """Straight lines between points of utilization in percent and scores from 0 to 10."""
    points = [(float(each["utilization"]) / 100, float(each["score"]) * 10) for each in shape]
    if not points or points != sorted(points, key=lambda point: point[0]):
        raise ConfigError("requestedToCapacityRatio.shape: points in the order of their utilization are wanted")

    def rate(part: float) -> float:
        before = points[0]
        for point in points:
            if part <= point[0]:
                width = point[0] - before[0]
                return point[1] if not width else before[1] + (point[1] - before[1]) * (part - before[0]) / width
            before = point
        return before[1]

    return rate


def _balance(tuning: Tuning, path: str, args: Object) -> None:
    resources = [str(each["name"]) for each in args.get("resources") or ({"name": "cpu"}, {"name": "memory"})]
    if len(set(resources)) < len(resources):
        raise ConfigError(f"{path}.resources: one is named twice")
    if any(int(each.get("weight") or 1) != 1 for each in args.get("resources") or ()):
        raise ConfigError(f"{path}.resources: a weight must be 1")
    tuning.scores["NodeResourcesBalancedAllocation"] = balanced(resources)


def _company(tuning: Tuning, path: str, args: Object) -> None:
    hard = _within(path, args, "hardPodAffinityWeight", 1, 100)
    theirs = not args.get("ignorePreferredTermsOfExistingPods")
    tuning.scores["InterPodAffinity"] = preferred_company(hard, theirs=theirs)


def _nodes(tuning: Tuning, path: str, args: Object) -> None:
    """``addedAffinity``: what a node must be, or should be, for every pod of the profile."""
    affinity = args.get("addedAffinity") or {}
    refuse_others(f"{path}.addedAffinity", affinity, (REQUIRED, PREFERRED))
    if affinity.get(REQUIRED):
        tuning.filters["NodeAffinity"] = selected_and(affinity[REQUIRED])
    tuning.scores["NodeAffinity"] = preferred_nodes_and(affinity.get(PREFERRED) or ())


def _spread(tuning: Tuning, path: str, args: Object) -> None:
    constraints: list[Object] = args.get("defaultConstraints") or []
    kind = args.get("defaultingType") or "System"
    if kind not in ("System", "List"):
        raise ConfigError(f"{path}.defaultingType: {kind}: System or List is wanted")
    if kind == "System" and constraints:
        raise ConfigError(f"{path}.defaultingType: System, when .defaultConstraints are not empty")
    for index, each in enumerate(constraints):
        where = f"{path}.defaultConstraints[{index}]"
        if "labelSelector" in each:
            raise ConfigError(
                f"{where}.labelSelector: constraint must not define a selector, as they deduced for each pod"
            )
        if int(each.get("maxSkew") or 0) < 1:
            raise ConfigError(f"{where}.maxSkew: not in valid range (0, inf)")
        if not each.get("topologyKey") or each.get("whenUnsatisfiable") not in ("DoNotSchedule", "ScheduleAnyway"):
            raise ConfigError(f"{where}: topologyKey, and DoNotSchedule or ScheduleAnyway are wanted")
    if kind == "List":
        tuning.spread = constraints
        tuning.scores["PodTopologySpread"] = spread_only


def _preemption(tuning: Tuning, path: str, args: Object) -> None:
    percent = _within(path, args, "minCandidateNodesPercentage", 10, 100)
    least = _within(path, args, "minCandidateNodesAbsolute", 100, 2**31 - 1)
    if not percent and not least:
        raise ConfigError(
            f"{path}.minCandidateNodesPercentage: cannot be zero at the same time as minCandidateNodesAbsolute"
        )
    tuning.candidates = Candidates(percent, least)


def _binding(tuning: Tuning, path: str, args: Object) -> None:
    seconds = args.get("bindTimeoutSeconds")
    tuning.bind_timeout = PATIENCE if seconds is None else float(seconds)
    if tuning.bind_timeout < 0:
        raise ConfigError(f"{path}.bindTimeoutSeconds: invalid BindTimeoutSeconds, should not be a negative value")


_READERS: dict[str, tuple[tuple[str, ...], Callable[[Tuning, str, Object], None]]] = {
    "NodeResourcesFit": (("scoringStrategy", "ignoredResources", "ignoredResourceGroups"), _fit),
    "NodeResourcesBalancedAllocation": (("resources",), _balance),
    "InterPodAffinity": (("hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"), _company),
    "NodeAffinity": (("addedAffinity",), _nodes),
    "PodTopologySpread": (("defaultConstraints", "defaultingType"), _spread),
    PREEMPTION: (("minCandidateNodesPercentage", "minCandidateNodesAbsolute"), _preemption),
    "VolumeBinding": (("bindTimeoutSeconds",), _binding),
}
"""By plugin: the arguments it knows, and what they do."""
