"""A pod's requests and limits: its quality of service class, its cgroups' limits, what its status reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodeagent.engine.contract import Resources
from nodeagent.kubelet import names
from shim.api import pod_sum, qos, quantity
from shim.api.meta import Object
from shim.api.quantity import Quantity

ALL_PODS, BURSTABLE, BEST_EFFORT = "kubepods", "kubepods/burstable", "kubepods/besteffort"
"""Cgroups; guaranteed pods stand directly in the first."""
MIN_SHARES = 2  # the kernel's least
MIN_QUOTA_US = 1000
PERIOD_US = 100_000
CRITICAL = 2_000_000_000  # priority from which on a pod is never sent away

Amounts = dict[str, Quantity]


def _amounts(texts: Mapping[str, object] | None) -> Amounts:
    return {name: quantity.parse(str(text)) for name, text in (texts or {}).items()}


def is_critical(pod: Object) -> bool:
    """Static pods always are."""
    return names.is_static(pod) or int(pod["spec"].get("priority") or 0) >= CRITICAL


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort; the API server sets it, this is for pods that lack it."""
    told = (pod.get("status") or {}).get("qosClass")
    if told:
        return str(told)
    return qos.qos_class(pod["spec"])


def pod_totals(pod: Object, which: str) -> Amounts:
    """Requests or limits of the whole pod: the sum of its containers or, if more, its hungriest init container.

    What its runtime class adds for itself (KEP-688) raises a limit, but makes none.
    """
    spec = pod["spec"]
    total = pod_sum.at_once(spec, lambda container: _amounts((container.get("resources") or {}).get(which)))
    total.update(_amounts((spec.get("resources") or {}).get(which)))  # what is said of the pod itself wins
    overhead = _amounts(spec.get("overhead"))
    pod_sum.add(total, {name: more for name, more in overhead.items() if which == "requests" or name in total})
    return total


def whole_number(name: str, amount: Quantity) -> int:
    """An amount as messages tell it: thousandths of a CPU, whole units of everything else."""
    return amount.milli if name == "cpu" else amount.value


def texts(amounts: Amounts) -> dict[str, str]:
    return {name: str(amount) for name, amount in sorted(amounts.items())}


def reported(pod: Object) -> Object:
    """``status.resources``: limits and requests of the pod as they are in force."""
    requests, limits = pod_totals(pod, "requests"), pod_totals(pod, "limits")
    result: Object = {}
    if limits:
        result["limits"] = texts(limits)
    if requests:
        result["requests"] = texts(requests)
    return result


def shares(milli_cpu: int) -> int:
    """The kernel's weight for a CPU request."""
    return max(MIN_SHARES, milli_cpu * 1024 // 1000)


def quota(milli_cpu: int) -> int:
    return max(MIN_QUOTA_US, milli_cpu * PERIOD_US // 1000)


HUGE_PAGES = "hugepages-"


def huge_pages(amounts: Amounts) -> tuple[tuple[int, int], ...]:
    """Bytes by the size of the pages, of ``hugepages-2Mi: 16Mi``."""
    sizes = ((name.removeprefix(HUGE_PAGES), amount) for name, amount in amounts.items() if name.startswith(HUGE_PAGES))
    return tuple(sorted((quantity.parse(size).value, amount.value) for size, amount in sizes))


@dataclass(frozen=True, slots=True)
class Swap:
    """``usable``: by pods at all; ``total``: bytes of the machine, for so many bytes of ``memory``."""

    usable: bool = False
    total: int = 0
    memory: int = 0

    def limit(self, pod: Object, container: Object) -> int:
        """Its part of the swap is as its part of the memory, if it may have more memory than it asked for.

        See https://kubernetes.io/docs/concepts/cluster-administration/swap-memory-management/
        """
        if not self.usable or qos_class(pod) != "Burstable" or is_critical(pod):
            return 0
        told = container.get("resources") or {}
        asked, most = (_amounts(told.get(which)).get("memory") for which in ("requests", "limits"))
        if not asked or asked == most:
            return 0
        return int(asked.value / self.memory * self.total)


NO_SWAP = Swap()


def container_limits(container: Object, swap: int = 0) -> Resources:
    """The cgroup limits of one container."""
    resources = container.get("resources") or {}
    requests, limits = _amounts(resources.get("requests")), _amounts(resources.get("limits"))
    cpu = requests.get("cpu", limits.get("cpu"))
    cpu_limit, memory = limits.get("cpu"), limits.get("memory")
    return Resources(
        cpu_shares=shares(cpu.milli) if cpu else MIN_SHARES,
        cpu_quota_us=quota(cpu_limit.milli) if cpu_limit else None,
        memory_limit=memory.value if memory else None,
        swap_limit=swap,
        huge_pages=huge_pages(limits),
        die_together=True,  # half a container is of no use
    )


def pod_limits(pod: Object, pids: int | None = None) -> Resources:
    """The limits of the cgroup around all containers: a limit counts only where every container has one.

    ``pids``: how many processes the node lets a pod have.
    """
    requests, limits = pod_totals(pod, "requests"), pod_totals(pod, "limits")
    containers = [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]
    whole = (pod["spec"].get("resources") or {}).get("limits") or {}

    def limited(name: str) -> bool:
        return name in whole or all(((c.get("resources") or {}).get("limits") or {}).get(name) for c in containers)

    cpu = requests.get("cpu", limits.get("cpu") if limited("cpu") else None)
    return Resources(
        cpu_shares=shares(cpu.milli) if cpu else MIN_SHARES,
        cpu_quota_us=quota(limits["cpu"].milli) if limited("cpu") and limits.get("cpu") else None,
        memory_limit=limits["memory"].value if limited("memory") and limits.get("memory") else None,
        pids_limit=pids,
        huge_pages=huge_pages(limits),
    )


def cgroup_of(pod: Object) -> str:
    """``kubepods/burstable/pod<uid>``"""
    parent = {"Guaranteed": ALL_PODS, "Burstable": BURSTABLE}.get(qos_class(pod), BEST_EFFORT)
    return f"{parent}/pod{pod['metadata']['uid']}"


def _memory_request(of: Object) -> int:
    """Of a container, or of a pod's spec as a whole."""
    request = _amounts((of.get("resources") or {}).get("requests")).get("memory")
    return request.value if request else 0


def oom_score(pod: Object, container: Object, memory_capacity: int) -> int:
    """Whom the kernel kills first when the node runs out of memory: who asked for least.

    A sidecar counts no less than the least of the containers that it serves; what only the pod as a whole asked for
    is shared out evenly (KEP-2837).
    """
    qos = qos_class(pod)
    if pod["spec"].get("priorityClassName") == "system-node-critical" or qos == "Guaranteed":
        return -997
    if qos == "BestEffort":
        return 1000
    spec = pod["spec"]
    asked = _memory_request(container)
    if names.is_sidecar("initContainers", container) and container in (spec.get("initContainers") or ()):
        asked = max(asked, min(map(_memory_request, spec["containers"])))
    if whole := _memory_request(spec):
        by_itself = pod_sum.at_once(spec, lambda each: _amounts((each.get("resources") or {}).get("requests")))
        spare = whole - (by_itself["memory"].value if "memory" in by_itself else 0)
        asked += spare // (len(spec["containers"]) + len(spec.get("initContainers") or ()))
    return min(max(1000 - 1000 * asked // max(memory_capacity, 1), 3), 999)
