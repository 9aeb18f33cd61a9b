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


def in_use(pod: Object, field: str) -> Amounts:
    """The same for a pod that may be between two sizes (KEP-1287): what it has counts, where that is more.

    A size that its node will never grant counts for nothing.
    """
    status = pod.get("status") or {}
    told = {
        each["name"]: each
        for kind in ("containerStatuses", "initContainerStatuses")
        for each in status.get(kind) or ()
        if each.get("resources") is not None
    }
    if not told:
        return with_overhead(pod["spec"], field)
    conditions = status.get("conditions") or ()
    pending: Object = next((each for each in conditions if each.get("type") == "PodResizePending"), {})
    granted = pending.get("reason") != "Infeasible"

    def at_most(container: Object) -> Object:
        known = told.get(container.get("name", ""))
        if known is None:
            return container
        amounts = parsed(known["resources"].get(field))
        if field == "requests":
            _raise(amounts, parsed(known.get("allocatedResources")))
        if granted:
            _raise(amounts, _of(container, field))
        return {**container, "resources": {field: {name: str(value) for name, value in amounts.items()}}}

    spec = pod["spec"]
    fields = {kind: [at_most(each) for each in spec.get(kind) or ()] for kind in ("containers", "initContainers")}
    return with_overhead({**spec, **fields}, field)


def _raise(amounts: Amounts, others: Amounts) -> None:
    for name, value in others.items():
        amounts[name] = max(amounts.get(name, value), value)


def _of(whose: Object, field: str) -> Amounts:
    return parsed((whose.get("resources") or {}).get(field))
