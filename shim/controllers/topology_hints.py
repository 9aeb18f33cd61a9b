"""For clients of which zone is each endpoint meant? The Service annotation ``topology-mode: Auto`` (KEP-2433). Pure.

Zones get endpoints in proportion to the CPU of their nodes; mostly their own, and others' where there are too few. No
endpoint may get more than a fifth more than its share of the traffic: where that cannot be, there are no hints at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shim.api import conditions
from shim.api.meta import Object
from shim.api.quantity import parse

ANNOTATIONS = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
ZONE = "topology.kubernetes.io/zone"
OVERLOAD = 0.2  # upstream's
EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
NO_NODES = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
NO_ZONE = "One or more endpoints do not have a zone specified"
TOO_FEW = "Insufficient number of endpoints"
TOO_UNEVEN = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
ENABLED = "Topology Aware Hints has been enabled"
DISABLED = "Topology Aware Hints has been disabled"


class NoHints(Exception):
    """Endpoints cannot be given to zones; the text is the event's."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many endpoints a zone must have, may have, and should have."""

    least: int
    most: int
    desired: float


def is_wanted(service: Object) -> bool:
    """Whether the Service asks for it."""
    annotations = service["metadata"].get("annotations") or {}
    told = next((annotations[name] for name in ANNOTATIONS if name in annotations), "")
    return told in ("Auto", "auto")


def node_facts(node: Object) -> tuple[str, int] | None:
    """Zone and thousandths of a CPU ("" and 0 where they are not told); None of a node that does not count."""
    labels = node["metadata"].get("labels") or {}
    if any(name in labels for name in EXCLUDED) or not conditions.is_true(node, "Ready"):
        return None
    cpu = ((node.get("status") or {}).get("allocatable") or {}).get("cpu") or "0"
    return labels.get(ZONE) or "", parse(str(cpu)).milli


def zone_ratios(facts: Iterable[tuple[str, int] | None]) -> dict[str, float]:
    """Each zone's part of the CPU of all nodes; empty when it is not known of all, or when there are not two zones."""
    cpu: Counter[str] = Counter()
    for each in facts:
        if each is None:
            continue
        zone, amount = each
        if not zone or not amount:
            return {}
        cpu[zone] += amount
    return {zone: amount / cpu.total() for zone, amount in cpu.items()} if len(cpu) > 1 else {}


def shares(ratios: Mapping[str, float], endpoints: int) -> dict[str, Share]:
    """Raises NoHints."""
    if not ratios:
        raise NoHints(NO_NODES)
    counted = f"({endpoints} endpoints, {len(ratios)} zones)"
    if len(ratios) > endpoints:
        raise NoHints(f"{TOO_FEW} {counted}")
    least = {zone: math.ceil(ratio * endpoints / (1 + OVERLOAD)) for zone, ratio in ratios.items()}
    spare = endpoints - sum(least.values())
    if spare < 0:
        raise NoHints(f"{TOO_UNEVEN} {counted}")
    return {
        zone: Share(least[zone], least[zone] + spare, max(ratio * endpoints, least[zone]))
        for zone, ratio in ratios.items()
    }


def assign(zones: Mapping[str, str], before: Mapping[str, str], ratios: Mapping[str, float]) -> dict[str, str]:
    """For clients of which zone each endpoint is; ``zones``: where each is, ``before``: what was said last.

    What was said stays as long as it is good enough, so that one endpoint's change moves few others. Raises NoHints.
    """
    wanted = shares(ratios, len(zones))
    if not all(zones.values()):
        raise NoHints(NO_ZONE)
    kept = {name: before[name] if before.get(name) in wanted else zone for name, zone in zones.items()}
    counts = Counter(kept.values())
    if not all(share.least <= counts[zone] <= share.most for zone, share in wanted.items()):
        kept = dict(zones)
    gives, takes = _moves(wanted, Counter(kept.values()))
    for name in sorted(kept):
        zone = kept[name]
        if gives[zone] > 0 and takes.total() > 0:
            gives[zone] -= 1
            kept[name] = max(sorted(takes), key=lambda each: takes[each])
            takes[kept[name]] -= 1
    return kept


def _moves(wanted: Mapping[str, Share], counts: Counter[str]) -> tuple[Counter[str], Counter[str]]:
    """How many endpoints zones give and take, so that each has what it must and comes as near as whole ones can."""
    nothing = Share(0, 0, 0.0)  # zones that should have none give all they have
    share = {zone: wanted.get(zone, nothing) for zone in sorted({*wanted, *counts})}
    now = {zone: counts[zone] for zone in share}
    over = {zone: counts[zone] - share[zone].desired for zone in share}
    gives: Counter[str] = Counter()
    takes: Counter[str] = Counter()
    while givers := [zone for zone in share if now[zone] > share[zone].least]:
        giver = max(givers, key=lambda zone: over[zone])
        taker = min(share, key=lambda zone: (now[zone] >= share[zone].least, over[zone]))
        if now[taker] >= share[taker].least and over[giver] - over[taker] < 1 + 1e-9:
            break  # to move another one would bring them no nearer
        for zone, change, tally in ((giver, -1, gives), (taker, 1, takes)):
            now[zone] += change
            over[zone] += change
            tally[zone] += 1
    return gives, takes
