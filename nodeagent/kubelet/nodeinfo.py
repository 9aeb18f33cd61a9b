"""What this node is: its capacity, system, images and conditions, as the status of its Node object."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Sequence
from pathlib import Path

from nodeagent.engine.contract import Image
from nodeagent.kubelet.names import RUNTIME
from nodeagent.settings import NodeAgentSettings
from shim.api.meta import Object
from shim.api.version import GIT_VERSION, RELEASE

RESERVED_KI = 100 * 1024  # memory that pods must leave free, upstream's hard eviction threshold
IMAGES_SHOWN = 50
NOT_READY = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:the node has no pod network yet"
)


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
    for pages in sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")):
        size = int(pages.name.removeprefix("hugepages-").removesuffix("kB"))
        name = f"{size >> 20}Gi" if size >= 1 << 20 else f"{size >> 10}Mi"
        found[f"hugepages-{name}"] = str(int((pages / "nr_hugepages").read_text()) * size) + "Ki"
        if found[f"hugepages-{name}"] == "0Ki":
            found[f"hugepages-{name}"] = "0"
    return dict(sorted(found.items()))


def allocatable(of: dict[str, str]) -> dict[str, str]:
    return {**of, "memory": f"{int(of['memory'].removesuffix('Ki')) - RESERVED_KI}Ki"}


def node_info(settings: NodeAgentSettings) -> Object:
    machine = _read("/etc/machine-id") or uuid.uuid5(uuid.NAMESPACE_DNS, platform.node()).hex
    return {
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


def conditions(ready: bool, previous: Sequence[Object], now: str) -> list[Object]:
    """``previous``: to keep the times of transition."""
    verdicts = [
        ("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", True, "KubeletReady", "kubelet is posting ready status")
        if ready
        else ("Ready", False, "KubeletNotReady", NOT_READY),
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


def status(settings: NodeAgentSettings, *, ready: bool, known: Sequence[Image], previous: Object, now: str) -> Object:
    """The whole status this kubelet writes; what others write (volumes, say) is not in it."""
    has = capacity(settings)
    return {
        "capacity": has,
        "allocatable": allocatable(has),
        "conditions": conditions(ready, previous.get("conditions") or (), now),
        "addresses": [
            {"type": "InternalIP", "address": settings.node_ip},
            {"type": "Hostname", "address": settings.node_name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.port}},
        "nodeInfo": node_info(settings),
        "images": images(known),
    }
