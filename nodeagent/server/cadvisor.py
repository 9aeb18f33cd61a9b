"""``/metrics/cadvisor``: what each container uses and may use, by the names that dashboards know."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric

from nodeagent.kubelet import resources
from nodeagent.kubelet.names import find_container, statuses_of
from nodeagent.server.resource_metrics import Reading
from shim.api.meta import Object, parse_time
from shim.codec.exposition import counters, gauges

LABELS = ("container", "id", "image", "name", "namespace", "pod")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A figure of a cgroup as it is told: by which name, which of ``Engine.usage`` it is, and in which unit."""

    name: str
    help: str
    key: str
    unit: float = 1.0
    grows: bool = True


_OF_A_CGROUP = (
    _Kept("container_cpu_user_seconds", "Cumulative user cpu time consumed in seconds.", "cpu_user_ns", 1e9),
    _Kept("container_cpu_system_seconds", "Cumulative system cpu time consumed in seconds.", "cpu_system_ns", 1e9),
    _Kept("container_cpu_cfs_periods", "Number of elapsed enforcement period intervals.", "periods"),
    _Kept("container_cpu_cfs_throttled_periods", "Number of throttled period intervals.", "throttled_periods"),
    _Kept(
        "container_cpu_cfs_throttled_seconds",
        "Total time duration the container has been throttled.",
        "throttled_ns",
        1e9,
    ),
    _Kept("container_memory_cache", "Number of bytes of page cache memory.", "memory_cache", grows=False),
    _Kept("container_memory_mapped_file", "Size of memory mapped files in bytes.", "memory_mapped_file", grows=False),
    _Kept("container_memory_swap", "Container swap usage in bytes.", "memory_swap", grows=False),
    _Kept("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", "memory_most", grows=False),
    _Kept(
        "container_memory_total_active_file_bytes",
        "Current total active file in bytes.",
        "memory_active_file",
        grows=False,
    ),
    _Kept(
        "container_memory_total_inactive_file_bytes",
        "Current total inactive file in bytes.",
        "memory_inactive_file",
        grows=False,
    ),
    _Kept("container_threads", "Number of threads running inside the container", "pids", grows=False),
)
_PRESSURES = (
    ("stalled", "full", "no tasks in the container could make progress"),
    ("waiting", "some", "tasks in the container have waited"),
)
_OF_AN_INTERFACE = (
    ("container_network_receive_bytes", "bytes received", "rxBytes"),
    ("container_network_receive_errors", "errors encountered while receiving", "rxErrors"),
    ("container_network_transmit_bytes", "bytes transmitted", "txBytes"),
    ("container_network_transmit_errors", "errors encountered while transmitting", "txErrors"),
)


def cadvisor(pods: list[Object], summary: Object, readings: Sequence[Reading]) -> Iterator[Metric]:
    """``readings``: of the containers that run, what their cgroups say."""
    rows = _rows(pods, summary)
    yield gauges("cadvisor_version_info", "Which kernel this is", ("kernelVersion",), {(os.uname().release,): 1})
    cpu = {row: told["cpu"]["usageCoreNanoSeconds"] / 1e9 for row, told in rows.items()}
    yield counters("container_cpu_usage_seconds", "Cumulative cpu time consumed in seconds.", LABELS, cpu)
    for name, help_, key in (
        ("container_memory_usage_bytes", "Current memory usage in bytes, including all memory", "usageBytes"),
        ("container_memory_working_set_bytes", "Current working set in bytes.", "workingSetBytes"),
        ("container_memory_rss", "Size of RSS in bytes.", "rssBytes"),
    ):
        yield gauges(name, help_, LABELS, {row: told["memory"][key] for row, told in rows.items()})
    started = {row: parse_time(told["startTime"]).timestamp() for row, told in rows.items() if told.get("startTime")}
    help_ = "Start time of the container since unix epoch in seconds."
    yield gauges("container_start_time_seconds", help_, LABELS, started)
    seen = dict.fromkeys(rows, time.time())
    yield gauges("container_last_seen", "Last time a container was seen by the exporter", LABELS, seen)
    yield from _of_cgroups(rows, readings)
    yield from _pressures(rows)
    yield from _limits(pods, rows)
    yield from _disks(rows)
    yield from _interfaces(rows)
    yield from _machine()


Rows = Mapping[tuple[str, ...], Object]
"""What the summary tells of a pod, a container or all, by the values of LABELS."""


def _rows(pods: list[Object], summary: Object) -> Rows:
    images = {
        (pod["metadata"]["uid"], status["name"]): (status.get("image", ""), status.get("containerID", ""))
        for pod in pods
        for status in statuses_of(pod.get("status") or {})
    }
    groups = {pod["metadata"]["uid"]: f"/{resources.cgroup_of(pod)}" for pod in pods}
    rows: dict[tuple[str, ...], Object] = {}
    for pod in summary["pods"]:
        reference = pod["podRef"]
        if (group := groups.get(reference["uid"])) is None:
            continue  # it came just now
        rows["", group, "", "", reference["namespace"], reference["name"]] = pod
        for each in pod["containers"]:
            image, name = images.get((reference["uid"], each["name"]), ("", ""))
            name = name.rpartition("/")[2]
            rows[each["name"], f"{group}/{name}", image, name, reference["namespace"], reference["name"]] = each
    rows["", "/", "", "", "", ""] = summary["node"]
    return rows


def _of_cgroups(rows: Rows, readings: Sequence[Reading]) -> Iterator[Metric]:
    known: dict[tuple[str, ...], Mapping[str, int]] = {
        (each.container, each.namespace, each.pod): each.usage for each in readings
    }
    usages = {row: usage for row in rows if (usage := known.get((row[0], *row[4:]))) is not None}
    for kept in _OF_A_CGROUP:
        samples = {row: usage[kept.key] / kept.unit for row, usage in usages.items() if kept.key in usage}
        yield (counters if kept.grows else gauges)(kept.name, kept.help, LABELS, samples)
    failures = {
        (*row[:1], word, *row[1:4], *row[4:], "container"): float(usage.get(key, 0))
        for row, usage in usages.items()
        for word, key in (("pgfault", "page_faults"), ("pgmajfault", "major_page_faults"))
    }
    labels = (LABELS[0], "failure_type", *LABELS[1:], "scope")
    yield counters("container_memory_failures", "Cumulative count of memory allocation failures.", labels, failures)


def _pressures(rows: Rows) -> Iterator[Metric]:
    for resource, word in (("cpu", "CPU"), ("memory", "memory"), ("io", "IO")):
        told = {row: each[resource]["psi"] for row, each in rows.items() if "psi" in each.get(resource, {})}
        for name, which, what in _PRESSURES:
            samples = {row: psi[which]["total"] / 1e9 for row, psi in told.items() if which in psi}
            help_ = f"Total time duration {what} due to {word} congestion."
            yield counters(f"container_pressure_{resource}_{name}_seconds", help_, LABELS, samples)


def _limits(pods: list[Object], rows: Rows) -> Iterator[Metric]:
    """What containers may use, as their cgroups have it; none is 0 for memory, and is left out for the quota."""
    specs = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod for pod in pods}
    limits = {
        row: resources.container_limits(found[1])
        for row in rows
        if row[0] and (found := find_container(specs[row[4], row[5]], row[0])) is not None
    }
    period = {row: float(each.cpu_period_us) for row, each in limits.items()}
    yield gauges("container_spec_cpu_period", "CPU period of the container.", LABELS, period)
    quota = {row: float(each.cpu_quota_us) for row, each in limits.items() if each.cpu_quota_us}
    yield gauges("container_spec_cpu_quota", "CPU quota of the container.", LABELS, quota)
    shares = {row: float(each.cpu_shares or 0) for row, each in limits.items()}
    yield gauges("container_spec_cpu_shares", "CPU share of the container.", LABELS, shares)
    memory = {row: float(each.memory_limit or 0) for row, each in limits.items()}
    yield gauges("container_spec_memory_limit_bytes", "Memory limit for the container.", LABELS, memory)


def _disks(rows: Rows) -> Iterator[Metric]:
    disks = {row: told["rootfs"] for row, told in rows.items() if "rootfs" in told}
    disks |= {row: told["fs"] for row, told in rows.items() if "fs" in told}
    for name, help_, key in (
        ("container_fs_usage_bytes", "Number of bytes that are consumed by the container.", "usedBytes"),
        ("container_fs_limit_bytes", "Number of bytes that can be consumed by the container.", "capacityBytes"),
        ("container_fs_inodes_free", "Number of available Inodes", "inodesFree"),
        ("container_fs_inodes_total", "Number of Inodes", "inodes"),
    ):
        yield gauges(name, help_, LABELS, {row: disk[key] for row, disk in disks.items()})


def _interfaces(rows: Rows) -> Iterator[Metric]:
    labels = (*LABELS[:2], "interface", *LABELS[2:])
    for name, word, key in _OF_AN_INTERFACE:
        samples = {
            (*row[:1], row[1], interface["name"], *row[2:]): float(interface[key])
            for row, told in rows.items()
            for interface in (told.get("network") or {}).get("interfaces", ())
        }
        yield counters(name, f"Cumulative count of {word}", labels, samples)


def _machine() -> Iterator[Metric]:
    yield gauges("machine_cpu_cores", "Number of logical CPU cores.", (), {(): os.cpu_count() or 1})
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield gauges("machine_memory_bytes", "Amount of memory installed on the machine.", (), {(): memory})
