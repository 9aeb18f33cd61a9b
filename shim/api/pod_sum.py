"""What does a pod need at once, given what each of its containers needs? Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from shim.api.meta import Object
from shim.api.quantity import Quantity

Amount = TypeVar("Amount", int, Quantity)


def at_once(spec: Object, needs: Callable[[Object], dict[str, Amount]]) -> dict[str, Amount]:
    """The containers together, or the most that an init container needs before them.

    A restartable init container (sidecar) counts from its start on: for the init containers after it, and for all.
    """
    total: dict[str, Amount] = {}
    for container in spec.get("containers") or ():
        add(total, needs(container))
    sidecars: dict[str, Amount] = {}
    peak: dict[str, Amount] = {}
    for container in spec.get("initContainers") or ():
        own = needs(container)
        if container.get("restartPolicy") == "Always":
            add(total, own)
            add(sidecars, own)
            own = dict(sidecars)
        else:
            add(own, sidecars)
        _raise(peak, own)
    _raise(total, peak)
    return total


def add(total: dict[str, Amount], more: Mapping[str, Amount]) -> None:
    """Add amounts to a total, in place."""
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _raise(total: dict[str, Amount], other: Mapping[str, Amount]) -> None:
    for name, amount in other.items():
        total[name] = max(total.get(name, amount), amount)
