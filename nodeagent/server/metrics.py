"""What monitoring reads of a kubelet itself: ``/metrics`` and ``/metrics/probes``, by upstream's names.

Everything is read when asked for: the same pods and the same summary that ``/pods`` and ``/stats/summary`` show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from nodeagent.kubelet import names
from nodeagent.kubelet.source import PodSource
from nodeagent.linux import cgroups
from nodeagent.server.families import Samples, counted, one, statuses
from shim.api.meta import Object
from shim.api.version import GIT_VERSION, MAJOR, MINOR


def kubelet(source: PodSource, summary: Object) -> Iterator[Metric]:
    """``/metrics``."""
    node, pods = str(summary["node"]["nodeName"]), source.pods()
    version = (GIT_VERSION, str(MAJOR), str(MINOR))
    yield one("kubernetes_build_info", "Which Kubernetes this is", {version: 1}, ("git_version", "major", "minor"))
    yield one("kubelet_node_name", "The node's name. The count is always 1.", {(node,): 1}, ("node",))
    yield one("kubelet_cgroup_version", "cgroup version on the hosts.", {(): cgroups.version()})
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    yield one("kubelet_running_pods", "Number of pods that have a running pod sandbox", {(): len(running)})
    states = Counter(_state(status) for pod in pods for status in statuses(pod))
    told: Samples = {(state,): states.get(state, 0) for state in ("created", "exited", "running", "unknown")}
    yield one("kubelet_running_containers", "Number of containers currently running", told, ("container_state",))
    active = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    for name, many in (("active", active), ("desired", pods)):
        help_ = f"The number of {name} pods the kubelet has"
        static = sum(map(names.is_static, many))
        told_pods: Samples = {("",): len(many) - static, **({("true",): static} if static else {})}
        yield one(f"kubelet_{name}_pods", help_, told_pods, ("static",))
    help_ = "The number of mirror pods the kubelet will try to create"
    yield one("kubelet_mirror_pods", help_, {(): source.mirrors()})
    for when, at in zip(("start", "end"), source.went_down(), strict=True):
        help_ = f"Last graceful shutdown {when} time since unix epoch in seconds"
        yield one(f"kubelet_graceful_shutdown_{when}_time_seconds", help_, {(): at})
    volumes = Counter(_plugin(volume) for pod in active for volume in pod["spec"].get("volumes") or ())
    yield one(
        "volume_manager_total_volumes",
        "Number of volumes in Volume Manager",
        {(f"kubernetes.io/{plugin}", "actual_state_of_world"): number for plugin, number in sorted(volumes.items())},
        ("plugin_name", "state"),
    )
    gone = CounterMetricFamily(
        "kubelet_evictions", "Cumulative number of pod evictions by eviction signal", labels=("eviction_signal",)
    )
    for signal, number in source.evictions().items():
        gone.add_metric((signal,), number)
    yield gone
    for word, what, event in (("", "pods with user namespaces started", "started"), ("_errors", "failures", "failed")):
        help_ = f"Cumulative number of {what}"
        yield counted(f"kubelet_started_user_namespaced_pods{word}", help_, {(): source.own_users().get(event, 0)}, ())
    logs: Samples = {
        (container["name"], pod["podRef"]["namespace"], pod["podRef"]["name"], pod["podRef"]["uid"]): float(
            container["logs"]["usedBytes"]
        )
        for pod in summary["pods"]
        for container in pod["containers"]
    }
    yield one(
        "kubelet_container_log_filesystem_used_bytes",
        "Bytes used by the container's logs on the filesystem.",
        logs,
        ("container", "namespace", "pod", "uid"),
    )


def probes(counts: Samples) -> Iterator[Metric]:
    """``/metrics/probes``: by container, pod, namespace, uid, kind of probe and result."""
    labels = ("container", "pod", "namespace", "pod_uid", "probe_type", "result")
    help_ = "Cumulative number of a liveness, readiness or startup probe for a container by result."
    yield counted("prober_probe", help_, counts, labels)


def _state(status: Object) -> str:
    state = status.get("state") or {}
    return "running" if "running" in state else "exited" if "terminated" in state else "created"


def _plugin(volume: Object) -> str:
    kind = next((key for key in volume if key != "name"), "")
    plugins = {"emptyDir": "empty-dir", "hostPath": "host-path", "downwardAPI": "downward-api"}
    return plugins.get(kind, kind.lower())
