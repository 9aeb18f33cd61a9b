"""By which filters and scores is a pod placed? Those of the profile its ``schedulerName`` names.

Without a configuration there is one, with everything upstream has by default. A KubeSchedulerConfiguration
(``kubescheduler.config.k8s.io/v1``) may name several, which leave out plugins, weigh scores otherwise, or give
plugins arguments. What is not built is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from shim.api.meta import Object
from shim.scheduler.filters import FILTERS, Filter, selected_and
from shim.scheduler.queue import FIRST_BACKOFF, LONGEST_BACKOFF
from shim.scheduler.scores import SCORES, Score, by_allocation, free, preferred_company, used

NAME = "default-scheduler"
API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
PREEMPTION = "DefaultPreemption"
WEIGHTS: dict[str, dict[str, int]] = {
    "filter": dict.fromkeys(FILTERS, 1),
    "score": {name: weight for name, (weight, _) in SCORES.items()},
    "postFilter": {PREEMPTION: 1},
}
"""The plugins of each extension point, with the weights they have unless told otherwise."""


class ConfigError(ValueError):
    """The configuration cannot be followed; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Profile:
    """``preempts``: whether less important pods may be removed for one that fits nowhere."""

    name: str = NAME
    filters: Mapping[str, Filter] = field(default_factory=lambda: FILTERS)
    scores: Mapping[str, tuple[int, Score]] = field(default_factory=lambda: SCORES)
    preempts: bool = True


@dataclass(frozen=True, slots=True)
class Configuration:
    profiles: Mapping[str, Profile] = field(default_factory=lambda: {NAME: Profile()})
    first_backoff: float = FIRST_BACKOFF
    longest_backoff: float = LONGEST_BACKOFF


def name_of(pod: Object) -> str:
    """The profile a pod asks for."""
    return str(pod["spec"].get("schedulerName") or NAME)


def read(path: Path | None) -> Configuration:
    """What a file says; None: nothing. Raises ConfigError."""
    if path is None:
        return Configuration()
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return configuration(found)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def configuration(config: Object) -> Configuration:
    """Raises ConfigError."""
    if not isinstance(config, dict) or (config.get("apiVersion"), config.get("kind")) != (API_VERSION, KIND):
        raise ConfigError(f"a {KIND} of {API_VERSION} is wanted")
    first, longest = "podInitialBackoffSeconds", "podMaxBackoffSeconds"
    _refuse_others("", config, ("apiVersion", "kind", "profiles", first, longest))
    profiles = [_profile(f"profiles[{index}]", each) for index, each in enumerate(config.get("profiles") or [{}])]
    named = {profile.name: profile for profile in profiles}
    if len(named) < len(profiles):
        raise ConfigError("profiles: two have the same schedulerName")
    return Configuration(named, float(config.get(first, FIRST_BACKOFF)), float(config.get(longest, LONGEST_BACKOFF)))


def _profile(path: str, config: Object) -> Profile:
    _refuse_others(path, config, ("schedulerName", "plugins", "pluginConfig"))
    chosen = _chosen(f"{path}.plugins", config.get("plugins") or {})
    filters, scores = dict(FILTERS), {name: score for name, (_, score) in SCORES.items()}
    for index, each in enumerate(config.get("pluginConfig") or ()):
        where = f"{path}.pluginConfig[{index}]"
        name, args = each.get("name"), {**(each.get("args") or {})}
        for known in ("apiVersion", "kind"):
            args.pop(known, None)
        if name == "NodeResourcesFit":
            scores[name] = _allocation(f"{where}.args", args)
        elif name == "InterPodAffinity":
            _refuse_others(f"{where}.args", args, ("hardPodAffinityWeight",))
            scores[name] = preferred_company(int(args.get("hardPodAffinityWeight", 1)))
        elif name == "NodeAffinity":
            filters[name] = _added_affinity(f"{where}.args", args)
        elif args:
            raise ConfigError(f"{where}: arguments of plugin {name} are not built")
    return Profile(
        config.get("schedulerName") or NAME,
        {name: check for name, check in filters.items() if name in chosen["filter"]},
        {name: (chosen["score"][name], score) for name, score in scores.items() if name in chosen["score"]},
        PREEMPTION in chosen["postFilter"],
    )


def _chosen(path: str, plugins: Object) -> dict[str, dict[str, int]]:
    """Which plugins are left at each point, and their weights. ``multiPoint`` means all points, and comes first."""
    _refuse_others(path, plugins, ("multiPoint", *WEIGHTS))
    chosen = {point: dict(weights) for point, weights in WEIGHTS.items()}
    for point in ("multiPoint", *WEIGHTS):
        told = plugins.get(point) or {}
        _refuse_others(f"{path}.{point}", told, ("enabled", "disabled"))
        points = list(WEIGHTS) if point == "multiPoint" else [point]
        for each in told.get("disabled") or ():
            name = each["name"]
            for one in points:
                chosen[one] = {} if name == "*" else {key: w for key, w in chosen[one].items() if key != name}
        for each in told.get("enabled") or ():
            name = each["name"]
            there = [one for one in points if name in WEIGHTS[one]]
            if not there:
                raise ConfigError(f"{path}.{point}: plugin {name} is not built")
            for one in there:
                chosen[one][name] = int(each.get("weight") or WEIGHTS[one][name])
    return chosen


def _allocation(path: str, args: Object) -> Score:
    """What ``scoringStrategy`` of NodeResourcesFit means."""
    _refuse_others(path, args, ("scoringStrategy",))
    strategy = args.get("scoringStrategy") or {}
    where = f"{path}.scoringStrategy"
    _refuse_others(where, strategy, ("type", "resources", "requestedToCapacityRatio"))
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


def _added_affinity(path: str, args: Object) -> Filter:
    """``addedAffinity``: what a node must be for every pod of the profile."""
    _refuse_others(path, args, ("addedAffinity",))
    affinity = args.get("addedAffinity") or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    _refuse_others(f"{path}.addedAffinity", affinity, (required,))
    return selected_and(affinity[required]) if affinity.get(required) else FILTERS["NodeAffinity"]


def _refuse_others(path: str, config: Object, known: Iterable[str]) -> None:
    others = sorted(set(config) - set(known))
    if others:
        raise ConfigError(f"{path}.{others[0]}".lstrip(".") + " is not built")
