"""What a whole pod asks for and may take, as the scheduler counts it: LimitRanges and quotas look at this."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api import pod_sum
from shim.api.meta import Object
from shim.api.quantity import Quantity
from shim.resources.amounts import amount

Amounts = dict[str, Quantity]


def parsed(resources: Mapping[str, object] | None) -> Amounts:
    return {name: amount(text) for name, text in (resources or {}).items()}


def pod_total(spec: Object, field: str) -> Amounts:
    """The sum of ``requests`` or ``limits``: containers and sidecars together, or one init container if it is more."""
    total = pod_sum.at_once(spec, lambda container: _of(container, field))
    for name, value in _of(spec, field).items():  # said of the pod as a whole
        if name in ("cpu", "memory"):
            total[name] = value
    return total


def _of(whose: Object, field: str) -> Amounts:
    return parsed((whose.get("resources") or {}).get(field))
