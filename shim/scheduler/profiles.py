"""By which filters and scores is a pod placed? Those of the profile its ``schedulerName`` names.

Without a configuration there is one, with everything upstream has by default. A KubeSchedulerConfiguration
(``kubescheduler.config.k8s.io/v1``) may name several, which leave out plugins, weigh scores otherwise, or give
plugins arguments. What is not built is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from shim.api.meta import Object
from shim.scheduler.filters import FILTERS, Filter
from shim.scheduler.plugin_args import PREEMPTION, ConfigError, Tuning, refuse_others, tune
from shim.scheduler.queue import FIRST_BACKOFF, LONGEST_BACKOFF
from shim.scheduler.scores import SCORES, Score

NAME = "default-scheduler"
API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
PERCENT = "percentageOfNodesToScore"
WEIGHTS: dict[str, dict[str, int]] = {
    "filter": dict.fromkeys(FILTERS, 1),
    "score": {name: weight for name, (weight, _) in SCORES.items()},
    "postFilter": {PREEMPTION: 1},
}
"""The plugins of each extension point, with the weights they have unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Profile:
    """``preempts``: whether less important pods may be removed for one that fits nowhere."""

    name: str = NAME
    filters: Mapping[str, Filter] = field(default_factory=lambda: FILTERS)
    scores: Mapping[str, tuple[int, Score]] = field(default_factory=lambda: SCORES)
    preempts: bool = True
    tuning: Tuning = field(default_factory=Tuning)
    percent: int = 0  # of the nodes that are worth comparing; 0: it depends on how many there are


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
    refuse_others("", config, ("apiVersion", "kind", "profiles", first, longest, PERCENT))
    told = {PERCENT: config.get(PERCENT)}
    profiles = [
        _profile(f"profiles[{index}]", {**told, **each}) for index, each in enumerate(config.get("profiles") or [{}])
    ]
    named = {profile.name: profile for profile in profiles}
    if len(named) < len(profiles):
        raise ConfigError("profiles: two have the same schedulerName")
    return Configuration(named, float(config.get(first, FIRST_BACKOFF)), float(config.get(longest, LONGEST_BACKOFF)))


def _profile(path: str, config: Object) -> Profile:
    refuse_others(path, config, ("schedulerName", "plugins", "pluginConfig", PERCENT))
    chosen = _chosen(f"{path}.plugins", config.get("plugins") or {})
    tuning = Tuning()
    for index, each in enumerate(config.get("pluginConfig") or ()):
        tune(tuning, f"{path}.pluginConfig[{index}]", each.get("name") or "", each.get("args") or {})
    percent = int(config.get(PERCENT) or 0)
    if not 0 <= percent <= 100:
        raise ConfigError(f"{path}.{PERCENT}: {percent} is not in valid range [0-100]")
    return Profile(
        config.get("schedulerName") or NAME,
        {name: check for name, check in tuning.filters.items() if name in chosen["filter"]},
        {name: (chosen["score"][name], score) for name, score in tuning.scores.items() if name in chosen["score"]},
        PREEMPTION in chosen["postFilter"],
        tuning,
        percent,
    )


def _chosen(path: str, plugins: Object) -> dict[str, dict[str, int]]:
    """Which plugins are left at each point, and their weights. ``multiPoint`` means all points, and comes first."""
    refuse_others(path, plugins, ("multiPoint", *WEIGHTS))
    chosen = {point: dict(weights) for point, weights in WEIGHTS.items()}
    for point in ("multiPoint", *WEIGHTS):
        told = plugins.get(point) or {}
        refuse_others(f"{path}.{point}", told, ("enabled", "disabled"))
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
