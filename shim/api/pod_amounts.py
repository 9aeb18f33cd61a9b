"""What a whole pod asks for and may take: LimitRanges and quotas look at this. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api import pod_sum
from shim.api.meta import Object
from shim.api.quantity import Quantity, amount

Amounts = dict[str, Quantity]


def parsed(resources: Mapping[str, object] | None) -> Amounts:
    return {name: amount(text) for name, text in (resources or {}).items()}


def pod_total(spec: Object, field: str) -> Amounts:
    """The sum of ``requests`` or ``limits``: containers and sidecars together, or one init container if it is more.

    What is said of the pod as a whole (KEP-2837) counts instead.
    """
    total = pod_sum.at_once(spec, lambda container: _of(container, field))
    for name, value in _of(spec, field).items():
        if name in ("cpu", "memory") or name.startswith("hugepages-"):
            total[name] = value
    return total


def with_overhead(spec: Object, field: str) -> Amounts:
    """The same with what the pod's runtime takes for itself: always of requests, of limits where there is one."""
    total = pod_total(spec, field)
    overhead = parsed(spec.get("overhead"))
    pod_sum.add(total, {name: more for name, more in overhead.items() if field == "requests" or name in total})
    return total


def _of(whose: Object, field: str) -> Amounts:
    return parsed((whose.get("resources") or {}).get(field))
