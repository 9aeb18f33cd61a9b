"""What do nodes and pods use? The rows of ``metrics.k8s.io``: nothing is stored under them, each answer is measured.

Elsewhere an add-on serves this group (https://github.com/kubernetes-sigs/metrics-server); its words are used here.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.api.meta import GVR, Object
from shim.api.quantity import Quantity
from shim.resources.columns.common import NAME
from shim.resources.rows import cluster, served
from shim.resources.strategy import Column, Resource

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
READ_ONLY = ("get", "list")


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used: nanoseconds of CPU a second, and bytes of memory."""

    cpu: int
    memory: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.memory + other.memory)

    def shown(self) -> Object:
        return {"cpu": f"{self.cpu}n", "memory": f"{self.memory // 1024}Ki"}


def node_metrics(name: str, labels: Object, at: str, window: float, usage: Usage) -> Object:
    return {**_head("NodeMetrics", {"name": name}, labels, at, window), "usage": usage.shown()}


def pod_metrics(
    namespace: str, name: str, labels: Object, at: str, window: float, containers: dict[str, Usage]
) -> Object:
    used = [{"name": each, "usage": usage.shown()} for each, usage in sorted(containers.items())]
    return {**_head("PodMetrics", {"name": name, "namespace": namespace}, labels, at, window), "containers": used}


def _head(kind: str, metadata: Object, labels: Object, at: str, window: float) -> Object:
    metadata = {**metadata, "creationTimestamp": at, **({"labels": labels} if labels else {})}
    head = {"kind": kind, "apiVersion": f"{GROUP}/{VERSION}", "metadata": metadata}
    return {**head, "timestamp": at, "window": f"{window:.3f}s"}


def _total(obj: Object, resource: str) -> str:
    parts = [obj["usage"]] if "usage" in obj else [each["usage"] for each in obj["containers"]]
    if resource == "cpu":
        return str(Quantity(sum(int(part["cpu"][:-1]) for part in parts)))
    return f"{sum(int(part['memory'][:-2]) for part in parts)}Ki"


_COLUMNS = (
    NAME,
    Column("cpu", "string", "CPU used, in cores", lambda obj: _total(obj, "cpu")),
    Column(
        "memory",
        "string",
        "Memory in use that the kernel could not take back at once",
        lambda obj: _total(obj, "memory"),
    ),
    Column("window", "string", "The time the values were taken over", lambda obj: obj["window"]),
)

METRICS: tuple[Resource, ...] = served(
    GROUP,
    VERSION,
    cluster("nodes", "NodeMetrics", columns=_COLUMNS, verbs=READ_ONLY, storage=GVR("", "v1", "nodes", False)),
    Resource("pods", "PodMetrics", columns=_COLUMNS, verbs=READ_ONLY, storage=GVR("", "v1", "pods")),
)
