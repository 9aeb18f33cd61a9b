"""What a whole pod asks for and may take, as the scheduler counts it: LimitRanges and quotas look at this."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api.meta import Object
from shim.api.quantity import Quantity
from shim.resources.amounts import amount

Amounts = dict[str, Quantity]


def parsed(resources: Mapping[str, object] | None) -> Amounts:
    return {name: amount(text) for name, text in (resources or {}).items()}


def pod_total(spec: Object, field: str) -> Amounts:
    """The sum of ``requests`` or ``limits``: containers and sidecars together, or one init container if it is more."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _of(container, field))
    sidecars: Amounts = {}
    highest: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of(container, field)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(sidecars, own)
            own = dict(sidecars)
        else:
            _add(own, sidecars)
        _raise(highest, own)
    _raise(total, highest)
    for name, value in parsed((spec.get("resources") or {}).get(field)).items():
        if name in ("cpu", "memory"):
            total[name] = value
    return total


def _of(container: Object, field: str) -> Amounts:
    return parsed((container.get("resources") or {}).get(field))


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def _raise(total: Amounts, other: Amounts) -> None:
    for name, value in other.items():
        if name not in total or value > total[name]:
            total[name] = value
