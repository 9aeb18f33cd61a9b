"""What this node is: its capacity, system, images and conditions, as the status of its Node object."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nodeagent.engine.contract import Image
from nodeagent.kubelet.eviction import thresholds
from nodeagent.kubelet.names import RUNTIME
from nodeagent.kubelet.resources import HUGE_PAGES, Amounts, Swap
from nodeagent.linux import cgroups, hugepages
from nodeagent.settings import NodeAgentSettings
from shim.api import quantity
from shim.api.meta import Object
from shim.api.version import GIT_VERSION, RELEASE

IMAGES_SHOWN = 50
HANDLERS = ("", "runc")
"""Of runtime classes: no other way to run pods than the one there is, which has containerd's name for its own."""
NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:the node has no pod network yet"
)


GOING_DOWN = "node is shutting down"


def memory_ki() -> int:
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))


def capacity(settings: NodeAgentSettings) -> dict[str, str]:
    """What the machine has; virtual nodes of one machine each tell all of it."""
    disk = os.statvfs(settings.data_dir)
    found = {
        "cpu": str(os.cpu_count() or 1),
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "memory": f"{memory_ki()}Ki",
        "pods": str(settings.max_pods),
    }
    for size in hugepages.sizes():
        name = f"{HUGE_PAGES}{quantity.canonical(f'{size >> 10}Ki')}"
        found[name] = quantity.canonical(f"{hugepages.reserved(size) >> 10}Ki")
    return dict(sorted(found.items()))


def allocatable(of: dict[str, str], settings: NodeAgentSettings) -> dict[str, str]:
    """What pods can have: all but what is reserved, and what evictions keep free."""
    known = settings.thresholds()
    kept = {"memory": "memory.available", "ephemeral-storage": "nodefs.available"}
    taken = settings.reserved()
    found = dict(of)
    for name, signal in kept.items():
        capacity = quantity.parse(of[name]).value
        away = thresholds.reserved(known, signal, capacity) + (taken[name].value if name in taken else 0)
        if name == "memory":  # of which huge pages were taken for good
            away += sum(quantity.parse(each).value for other, each in of.items() if other.startswith(HUGE_PAGES))
        if away:
            found[name] = f"{max(0, capacity - away) // 1024}Ki" if away % 1024 == 0 else str(max(0, capacity - away))
    if "cpu" in taken:
        milli = max(0, quantity.parse(of["cpu"]).milli - taken["cpu"].milli)
        found["cpu"] = str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"
    return found


def room(of: Mapping[str, str], settings: NodeAgentSettings) -> Amounts:
    """What all pods may use together: what evictions keep free is for them to have, and to be sent away for."""
    taken, found = settings.reserved(), {}
    for name, text in {"cpu": of["cpu"], "memory": of["memory"], "pid": str(most_processes())}.items():
        found[name] = quantity.parse(text) - taken[name] if name in taken else quantity.parse(text)
    return found


def most_processes() -> int:
    """How many this kernel lets there be."""
    return min(int(_read(f"/proc/sys/kernel/{name}")) for name in ("pid_max", "threads-max"))


def memory_bytes(of: Mapping[str, str]) -> int:
    return quantity.parse(of["memory"]).value


def swap(of: Mapping[str, str], settings: NodeAgentSettings) -> Swap:
    """Version 1 of cgroups cannot limit swap by itself, so with it pods have none."""
    usable = settings.swap_behavior == "LimitedSwap" and cgroups.version() == 2
    return Swap(usable, swap_bytes(), memory_bytes(of))


def swap_bytes() -> int:
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("SwapTotal:")) * 1024


def node_info(settings: NodeAgentSettings) -> Object:
    machine = _read("/etc/machine-id") or uuid.uuid5(uuid.NAMESPACE_DNS, platform.node()).hex
    told: Object = {
        "machineID": machine,
        # nodes that share a machine share its id; what tells systems apart must differ
        "systemUUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{machine}/{settings.node_name}")),
        "bootID": _read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": _os_name(),
        "containerRuntimeVersion": f"{RUNTIME}://{RELEASE}",
        "kubeletVersion": GIT_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }
    if capacity := swap_bytes():
        told["swap"] = {"capacity": capacity}
    return told


def architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def labels(settings: NodeAgentSettings) -> dict[str, str]:
    arch = architecture()
    return {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": "linux",
    }


PRESSURES = {  # condition -> what is said while the node has enough, and while it has not
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ),
    "PIDPressure": (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
    ),
}


def conditions(problems: Sequence[str], short: Collection[str], previous: Sequence[Object], now: str) -> list[Object]:
    """``problems``: why it is not ready; ``short``: the pressures there are; ``previous``: for times of transition."""
    why = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    verdicts = [
        *((type_, type_ in short, *said[type_ in short]) for type_, said in PRESSURES.items()),
        ("Ready", False, "KubeletNotReady", why)
        if problems
        else ("Ready", True, "KubeletReady", "kubelet is posting ready status"),
    ]
    before = {condition["type"]: condition for condition in previous}
    found = []
    for type_, true, reason, message in verdicts:
        status = "True" if true else "False"
        old = before.get(type_) or {}
        found.append(
            {
                "type": type_,
                "status": status,
                "lastHeartbeatTime": now,
                "lastTransitionTime": old.get("lastTransitionTime", now) if old.get("status") == status else now,
                "reason": reason,
                "message": message,
            }
        )
    return found


def is_ready(status: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())


def images(found: Sequence[Image]) -> list[Object]:
    """The largest images, as schedulers like to know them."""
    largest = sorted(found, key=lambda image: image.size, reverse=True)[:IMAGES_SHOWN]
    return [{"names": [*image.digests, *image.tags] or [image.id], "sizeBytes": image.size} for image in largest]


def status(
    settings: NodeAgentSettings,
    *,
    problems: Sequence[str],
    known: Sequence[Image],
    previous: Object,
    now: str,
    own_users: bool,
    short: Collection[str] = (),
) -> Object:
    """The whole status this kubelet writes; what others write (volumes, say) is not in it.

    ``own_users``: pods can have user namespaces.
    """
    has = capacity(settings)
    return {
        "capacity": has,
        "allocatable": allocatable(has, settings),
        "conditions": conditions(problems, short, previous.get("conditions") or (), now),
        "addresses": [
            {"type": "InternalIP", "address": settings.node_ip},
            {"type": "Hostname", "address": settings.node_name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.port}},
        "nodeInfo": node_info(settings),
        "runtimeHandlers": [
            {"name": name, "features": {"recursiveReadOnlyMounts": True, "userNamespaces": own_users}}
            for name in HANDLERS
        ],
        "features": {"supplementalGroupsPolicy": True},
        "declaredFeatures": ["ExtendWebSocketsToKubelet", "RestartAllContainersOnContainerExits"],
        "images": images(known),
    }
