"""What monitoring reads of a kubelet: ``/metrics``, ``/metrics/cadvisor`` and ``/metrics/probes``, by upstream's names.

Everything is read when asked for: the same pods and the same summary that ``/pods`` and ``/stats/summary`` show.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from nodeagent.kubelet import names
from shim.api.meta import Object, parse_time
from shim.api.version import GIT_VERSION, MAJOR, MINOR

_LISTS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


Samples = Mapping[tuple[str, ...], float]
"""By the values of the labels."""


class Families:
    """Metric families as a collector."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(Families(families))
    return generate_latest(registry)


def kubelet(
    node: str, pods: list[Object], summary: Object, evictions: Mapping[str, int], own_users: Mapping[str, int]
) -> Iterator[Metric]:
    """``/metrics``. ``own_users``: how many pods with user namespaces were ``started``, how many ``failed`` to."""
    version = (GIT_VERSION, str(MAJOR), str(MINOR))
    yield _one("kubernetes_build_info", "Which Kubernetes this is", {version: 1}, ("git_version", "major", "minor"))
    yield _one("kubelet_node_name", "The node's name. The count is always 1.", {(node,): 1}, ("node",))
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    yield _one("kubelet_running_pods", "Number of pods that have a running pod sandbox", {(): len(running)})
    states = Counter(_state(status) for pod in pods for status in _statuses(pod))
    told: Samples = {(state,): states.get(state, 0) for state in ("created", "exited", "running", "unknown")}
    yield _one("kubelet_running_containers", "Number of containers currently running", told, ("container_state",))
    active = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    for name, many in (("active", active), ("desired", pods)):
        help_ = f"The number of {name} pods the kubelet has"
        static = sum(map(names.is_static, many))
        told_pods: Samples = {("",): len(many) - static, **({("true",): static} if static else {})}
        yield _one(f"kubelet_{name}_pods", help_, told_pods, ("static",))
    volumes = Counter(_plugin(volume) for pod in active for volume in pod["spec"].get("volumes") or ())
    yield _one(
        "volume_manager_total_volumes",
        "Number of volumes in Volume Manager",
        {(f"kubernetes.io/{plugin}", "actual_state_of_world"): number for plugin, number in sorted(volumes.items())},
        ("plugin_name", "state"),
    )
    gone = CounterMetricFamily(
        "kubelet_evictions", "Cumulative number of pod evictions by eviction signal", labels=("eviction_signal",)
    )
    for signal, number in evictions.items():
        gone.add_metric((signal,), number)
    yield gone
    for word, what, event in (("", "pods with user namespaces started", "started"), ("_errors", "failures", "failed")):
        help_ = f"Cumulative number of {what}"
        yield _counted(f"kubelet_started_user_namespaced_pods{word}", help_, {(): own_users.get(event, 0)}, ())
    logs: Samples = {
        (container["name"], pod["podRef"]["namespace"], pod["podRef"]["name"], pod["podRef"]["uid"]): float(
            container["logs"]["usedBytes"]
        )
        for pod in summary["pods"]
        for container in pod["containers"]
    }
    yield _one(
        "kubelet_container_log_filesystem_used_bytes",
        "Bytes used by the container's logs on the filesystem.",
        logs,
        ("container", "namespace", "pod", "uid"),
    )


def cadvisor(pods: list[Object], summary: Object) -> Iterator[Metric]:
    """``/metrics/cadvisor``: containers, by the names that dashboards know."""
    labels = ("container", "id", "image", "name", "namespace", "pod")
    images = {
        (pod["metadata"]["uid"], status["name"]): (status.get("image", ""), status.get("containerID", ""))
        for pod in pods
        for status in _statuses(pod)
    }
    rows: dict[tuple[str, ...], Object] = {}
    for pod in summary["pods"]:
        reference = pod["podRef"]
        rows["", f"/kubepods/pod{reference['uid']}", "", "", reference["namespace"], reference["name"]] = pod
        for each in pod["containers"]:
            image, name = images.get((reference["uid"], each["name"]), ("", ""))
            name = name.rpartition("/")[2]
            place = f"/kubepods/pod{reference['uid']}/{name}"
            rows[each["name"], place, image, name, reference["namespace"], reference["name"]] = each
    rows["", "/", "", "", "", ""] = summary["node"]
    cpu = {row: told["cpu"]["usageCoreNanoSeconds"] / 1e9 for row, told in rows.items()}
    yield _counted("container_cpu_usage_seconds", "Cumulative cpu time consumed in seconds.", cpu, labels)
    for name, help_, key in (
        ("container_memory_usage_bytes", "Current memory usage in bytes, including all memory", "usageBytes"),
        ("container_memory_working_set_bytes", "Current working set in bytes.", "workingSetBytes"),
        ("container_memory_rss", "Size of RSS in bytes.", "rssBytes"),
    ):
        yield _one(name, help_, {row: told["memory"][key] for row, told in rows.items()}, labels)
    started = {row: parse_time(told["startTime"]).timestamp() for row, told in rows.items() if told.get("startTime")}
    help_ = "Start time of the container since unix epoch in seconds."
    yield _one("container_start_time_seconds", help_, started, labels)
    written = {row: told["rootfs"]["usedBytes"] for row, told in rows.items() if "rootfs" in told}
    yield _one("container_fs_usage_bytes", "Number of bytes that are consumed by the container.", written, labels)
    for name, word, key in (
        ("container_network_receive_bytes", "bytes received", "rxBytes"),
        ("container_network_transmit_bytes", "bytes transmitted", "txBytes"),
        ("container_network_receive_errors", "errors encountered while receiving", "rxErrors"),
        ("container_network_transmit_errors", "errors encountered while transmitting", "txErrors"),
    ):
        counts = {
            (*row[:1], row[1], interface["name"], *row[2:]): float(interface[key])
            for row, told in rows.items()
            for interface in (told.get("network") or {}).get("interfaces", ())
        }
        yield _counted(name, f"Cumulative count of {word}", counts, (*labels[:2], "interface", *labels[2:]))
    yield _one("machine_cpu_cores", "Number of logical CPU cores.", {(): os.cpu_count() or 1})
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield _one("machine_memory_bytes", "Amount of memory installed on the machine.", {(): memory})


def probes(counts: Samples) -> Iterator[Metric]:
    """``/metrics/probes``: by container, pod, namespace, uid, kind of probe and result."""
    labels = ("container", "pod", "namespace", "pod_uid", "probe_type", "result")
    help_ = "Cumulative number of a liveness, readiness or startup probe for a container by result."
    yield _counted("prober_probe", help_, counts, labels)


def _statuses(pod: Object) -> Iterator[Object]:
    for key in _LISTS:
        yield from (pod.get("status") or {}).get(key) or ()


def _state(status: Object) -> str:
    state = status.get("state") or {}
    return "running" if "running" in state else "exited" if "terminated" in state else "created"


def _plugin(volume: Object) -> str:
    kind = next((key for key in volume if key != "name"), "")
    plugins = {"emptyDir": "empty-dir", "hostPath": "host-path", "downwardAPI": "downward-api"}
    return plugins.get(kind, kind.lower())


def _one(name: str, help_: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _counted(name: str, help_: str, samples: Samples, labels: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(name, help_, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family
