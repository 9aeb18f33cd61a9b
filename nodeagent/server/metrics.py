"""What monitoring reads of a kubelet itself: ``/metrics`` and ``/metrics/probes``, by upstream's names.

Everything is read when asked for: the same pods and the same summary that ``/pods`` and ``/stats/summary`` show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

from nodeagent.kubelet import names
from nodeagent.kubelet.source import PodSource
from nodeagent.linux import cgroups
from shim.api.meta import Object
from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.codec.exposition import Labels, counters, gauges


def health(checks: Iterable[str]) -> Iterator[Metric]:
    """``/metrics/slis``: who is asked answers, so all is well."""
    told: dict[Labels, float] = {(check, "healthz"): 1 for check in checks}
    help_ = "This metric records the result of a single healthcheck."
    yield gauges("kubernetes_healthcheck", help_, ("name", "type"), told)


def kubelet(source: PodSource, summary: Object) -> Iterator[Metric]:
    """``/metrics``."""
    node, pods = str(summary["node"]["nodeName"]), source.pods()
    version = (GIT_VERSION, str(MAJOR), str(MINOR))
    yield gauges("kubernetes_build_info", "Which Kubernetes this is", ("git_version", "major", "minor"), {version: 1})
    yield gauges("kubelet_node_name", "The node's name. The count is always 1.", ("node",), {(node,): 1})
    yield gauges("kubelet_cgroup_version", "cgroup version on the hosts.", (), {(): cgroups.version()})
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    yield gauges("kubelet_running_pods", "Number of pods that have a running pod sandbox", (), {(): len(running)})
    states = Counter(_state(status) for pod in pods for status in names.statuses_of(pod.get("status") or {}))
    told: dict[Labels, float] = {
        (state,): states.get(state, 0) for state in ("created", "exited", "running", "unknown")
    }
    yield gauges("kubelet_running_containers", "Number of containers currently running", ("container_state",), told)
    active = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    for name, many in (("active", active), ("desired", pods)):
        help_ = f"The number of {name} pods the kubelet has"
        static = sum(map(names.is_static, many))
        told_pods: dict[Labels, float] = {("",): len(many) - static, **({("true",): static} if static else {})}
        yield gauges(f"kubelet_{name}_pods", help_, ("static",), told_pods)
    help_ = "The number of mirror pods the kubelet will try to create"
    yield gauges("kubelet_mirror_pods", help_, (), {(): source.mirrors()})
    for when, at in zip(("start", "end"), source.went_down(), strict=True):
        help_ = f"Last graceful shutdown {when} time since unix epoch in seconds"
        yield gauges(f"kubelet_graceful_shutdown_{when}_time_seconds", help_, (), {(): at})
    volumes = Counter(_plugin(volume) for pod in active for volume in pod["spec"].get("volumes") or ())
    yield gauges(
        "volume_manager_total_volumes",
        "Number of volumes in Volume Manager",
        ("plugin_name", "state"),
        {(f"kubernetes.io/{plugin}", "actual_state_of_world"): number for plugin, number in sorted(volumes.items())},
    )
    gone: dict[Labels, float] = {(signal,): number for signal, number in source.evictions().items()}
    help_ = "Cumulative number of pod evictions by eviction signal"
    yield counters("kubelet_evictions", help_, ("eviction_signal",), gone)
    for word, what, event in (("", "pods with user namespaces started", "started"), ("_errors", "failures", "failed")):
        help_ = f"Cumulative number of {what}"
        yield counters(f"kubelet_started_user_namespaced_pods{word}", help_, (), {(): source.own_users().get(event, 0)})
    logs: dict[Labels, float] = {
        (container["name"], pod["podRef"]["namespace"], pod["podRef"]["name"], pod["podRef"]["uid"]): float(
            container["logs"]["usedBytes"]
        )
        for pod in summary["pods"]
        for container in pod["containers"]
    }
    yield gauges(
        "kubelet_container_log_filesystem_used_bytes",
        "Bytes used by the container's logs on the filesystem.",
        ("container", "namespace", "pod", "uid"),
        logs,
    )


def probes(counts: Mapping[Labels, float]) -> Iterator[Metric]:
    """``/metrics/probes``: by container, pod, namespace, uid, kind of probe and result."""
    labels = ("container", "pod", "namespace", "pod_uid", "probe_type", "result")
    help_ = "Cumulative number of a liveness, readiness or startup probe for a container by result."
    yield counters("prober_probe", help_, labels, counts)


def _state(status: Object) -> str:
    state = status.get("state") or {}
    return "running" if "running" in state else "exited" if "terminated" in state else "created"


def _plugin(volume: Object) -> str:
    kind = next((key for key in volume if key != "name"), "")
    plugins = {"emptyDir": "empty-dir", "hostPath": "host-path", "downwardAPI": "downward-api"}
    return plugins.get(kind, kind.lower())
