"""When does a node run short? Thresholds as flags give them, and which of them are crossed. Pure.

See https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/ for the signals and their meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from shim.api import quantity


@dataclass(frozen=True, slots=True)
class Signal:
    """What is watched: the condition a node has when it is short of it, and the resource evictions are told for."""

    condition: str
    resource: str


ALLOCATABLE = "allocatableMemory.available"
"""What all pods together may still take of what is not reserved; it has the hard threshold of the node's memory."""

SIGNALS: Mapping[str, Signal] = {  # in the order in which they are dealt with: memory before anything else
    "memory.available": Signal("MemoryPressure", "memory"),
    ALLOCATABLE: Signal("MemoryPressure", "memory"),
    "nodefs.available": Signal("DiskPressure", "ephemeral-storage"),
    "nodefs.inodesFree": Signal("DiskPressure", "inodes"),
    "imagefs.available": Signal("DiskPressure", "ephemeral-storage"),
    "imagefs.inodesFree": Signal("DiskPressure", "inodes"),
    "pid.available": Signal("PIDPressure", "pids"),
}


@dataclass(frozen=True, slots=True)
class Amount:
    """So much, or such a part of what there is."""

    absolute: int = 0
    part: float | None = None

    def of(self, capacity: int) -> int:
        return self.absolute if self.part is None else int(capacity * self.part)

    @classmethod
    def parse(cls, text: str) -> Amount:
        """``100Mi`` or ``10%``. Raises ValueError."""
        if text.endswith("%"):
            part = float(text[:-1]) / 100
            if not 0 <= part < 1:
                raise ValueError(f"eviction percentage threshold {text} must be >= 0% and < 100%")
            return cls(part=part)
        amount = quantity.parse(text).value
        if amount < 0:
            raise ValueError(f"eviction threshold {text} must be positive")
        return cls(absolute=amount)


@dataclass(frozen=True, slots=True)
class Threshold:
    """``grace``: seconds it must have been crossed; 0 is a hard one, and pods get no time to end."""

    signal: str
    amount: Amount
    grace: float = 0.0
    reclaim: Amount = Amount()  # how much more must be free until it is over


@dataclass(frozen=True, slots=True)
class Observation:
    available: int
    capacity: int


def parse(hard: str, soft: str = "", soft_grace: str = "", reclaim: str = "") -> tuple[Threshold, ...]:
    """The flags of a kubelet: ``memory.available<100Mi,nodefs.available<10%``. Raises ValueError."""
    at_least = {signal: Amount.parse(value) for signal, value in _pairs(reclaim, "=")}
    graces = {signal: seconds(value) for signal, value in _pairs(soft_grace, "=")}
    found = [
        Threshold(signal, Amount.parse(value), 0.0, at_least.get(signal, Amount()))
        for signal, value in _pairs(hard, "<")
    ]
    for signal, value in _pairs(soft, "<"):
        if not graces.get(signal):
            raise ValueError(f"grace period must be specified for the soft eviction threshold {signal}")
        found.append(Threshold(signal, Amount.parse(value), graces[signal], at_least.get(signal, Amount())))
    # "0%" is a way to switch one off
    return tuple(threshold for threshold in found if threshold.amount != Amount(part=0.0))


def with_allocatable(thresholds: Iterable[Threshold]) -> tuple[Threshold, ...]:
    known = tuple(thresholds)
    hard = [each for each in known if each.signal == "memory.available" and not each.grace]
    return (*known, *(replace(each, signal=ALLOCATABLE) for each in hard))


def split(text: str, sign: str) -> list[tuple[str, str]]:
    """``a<1,b<2``: names and values. Raises ValueError."""
    found = []
    for piece in filter(None, text.split(",")):
        name, between, value = piece.strip().partition(sign)
        if not between or not value:
            raise ValueError(f"{piece!r} is not of the form signal{sign}value")
        found.append((name, value))
    return found


def _pairs(text: str, sign: str) -> list[tuple[str, str]]:
    found = split(text, sign)
    for signal, _ in found:
        if signal not in SIGNALS:
            raise ValueError(f"unsupported eviction signal {signal}")
    return found


def seconds(text: str) -> float:
    """``1m30s``, as Go writes durations."""
    total, number = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    for character in text:
        if character in units and number:
            total, number = total + float(number) * units[character], ""
        else:
            number += character
    if number or not text:
        raise ValueError(f"{text!r} is not a duration")
    return total


def crossed(
    thresholds: Iterable[Threshold], seen: Mapping[str, Observation], before: Iterable[Threshold] = ()
) -> list[Threshold]:
    """Those that are, in the order of SIGNALS. What was crossed ``before`` stays so until enough more is free."""
    held = set(before)
    found = []
    for threshold in thresholds:
        observation = seen.get(threshold.signal)
        if observation is None:
            continue
        wanted = threshold.amount.of(observation.capacity)
        if threshold in held:
            wanted += threshold.reclaim.of(observation.capacity)
        if observation.available < wanted:
            found.append(threshold)
    order = list(SIGNALS)
    return sorted(found, key=lambda threshold: order.index(threshold.signal))


def reserved(thresholds: Iterable[Threshold], signal: str, capacity: int) -> int:
    """What pods cannot have, because its hard threshold keeps it free."""
    return max((t.amount.of(capacity) for t in thresholds if t.signal == signal and not t.grace), default=0)
