"""What is said of a pod that fits nowhere? Upstream's sentence, which people and tools know. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from shim.scheduler.filters import Refusal
from shim.scheduler.snapshot import Pod

NO_NODES = "no nodes available to schedule pods"
NO_CLAIMS = "no new claims to deallocate"
NO_VICTIMS = "No preemption victims found for incoming pod"
NO_HELP = "Preemption is not helpful for scheduling"


def unschedulable(
    pod: Pod,
    nodes: int,
    refusals: Mapping[str, Refusal],
    everywhere: str | None = None,
    *,
    made_room: bool = False,
    not_eligible: str | None = None,
) -> str:
    """The whole sentence: why each node was refused, and why nothing can be removed to make room.

    ``everywhere`` is a reason that has nothing to do with nodes, ``made_room``: something is being removed;
    ``not_eligible``: why nothing may be.
    """
    if not nodes:
        return NO_NODES
    if everywhere is not None:
        first = f"{everywhere}."
    else:
        first = f"{_counted(reason for refusal in refusals.values() for reason in refusal.reasons)}."
    available = f"0/{nodes} nodes are available:"
    if made_room:
        return f"{available} {first}"
    if not_eligible is not None:
        preemption = not_eligible
    else:
        helpless = [NO_HELP if everywhere is not None or refusals[name].final else NO_VICTIMS for name in refusals] or [
            NO_HELP
        ] * nodes
        preemption = f"{available} {_counted(helpless)}."
    return f"{available} {first} {NO_CLAIMS}, preemption: {preemption}"


def _counted(reasons: Iterable[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in Counter(reasons).items()))
