"""What a container's process may do: its user, capabilities, and the kernel's files it must not see. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nodeagent.engine.contract import ImageConfig
from nodeagent.kubelet.errors import ConfigError
from nodeagent.kubelet.names import pod_text
from nodeagent.linux import capabilities
from shim.api.meta import Object

DEFAULT_CAPABILITIES = capabilities.DEFAULT
"""What runtimes grant a container that asks for nothing."""

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class Security:
    """The part of a container's specification that limits its process."""

    user: str
    groups: tuple[int, ...]
    groups_of_image: bool
    capabilities: frozenset[str]
    privileged: bool
    readonly_root: bool
    no_new_privileges: bool
    seccomp: bool
    seccomp_profile: str  # of the user's own, below the kubelet's folder of profiles
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]


def security_of(pod: Object, container: Object, image: ImageConfig, *, filtered: bool = True) -> Security:
    """The container's securityContext over the pod's over the image's. Raises ConfigError.

    ``filtered``: system calls are, when nobody says anything about that.
    """
    of_pod = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}

    def told(key: str) -> object:
        value = own.get(key)
        return value if value is not None else of_pod.get(key)

    uid, gid = told("runAsUser"), told("runAsGroup")
    user = str(uid) if uid is not None else image.user or "0"
    if told("runAsNonRoot"):
        _require_other_than_root(pod, container, uid, image.user)
    if gid is not None:
        user = f"{user.partition(':')[0]}:{gid}"
    groups = list(of_pod.get("supplementalGroups") or ())
    if of_pod.get("fsGroup") is not None:
        groups.append(of_pod["fsGroup"])
    privileged = bool(own.get("privileged"))
    profile = told("seccompProfile") or ({"type": "RuntimeDefault"} if filtered else {})
    assert isinstance(profile, dict)
    unmasked = privileged or own.get("procMount") == "Unmasked"
    return Security(
        user=user,
        groups=tuple(dict.fromkeys(groups)),
        groups_of_image=of_pod.get("supplementalGroupsPolicy") != "Strict",
        capabilities=frozenset(capabilities.NAMES) if privileged else _capabilities(own.get("capabilities") or {}),
        privileged=privileged,
        readonly_root=bool(own.get("readOnlyRootFilesystem")),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        seccomp=profile.get("type") == "RuntimeDefault" and not privileged,
        seccomp_profile=str(profile.get("localhostProfile") or "") if profile.get("type") == "Localhost" else "",
        masked_paths=() if unmasked else MASKED_PATHS,
        readonly_paths=() if unmasked else READONLY_PATHS,
    )


def _capabilities(told: Object) -> frozenset[str]:
    add = {_full(name) for name in told.get("add") or ()}
    drop = {_full(name) for name in told.get("drop") or ()}
    granted = set(DEFAULT_CAPABILITIES)
    if "CAP_ALL" in add:
        granted = set(frozenset(capabilities.NAMES))
    if "CAP_ALL" in drop:
        granted = set()
    return frozenset((granted | add) - drop - {"CAP_ALL"} if "CAP_ALL" not in drop else add - {"CAP_ALL"} - drop)


def _full(name: str) -> str:
    name = name.upper()
    return name if name.startswith("CAP_") else f"CAP_{name}"


def _require_other_than_root(pod: Object, container: Object, uid: object, image_user: str) -> None:
    where = f'(pod: "{pod_text(pod)}", container: {container["name"]})'
    if uid is not None:
        if uid == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image_user.partition(":")[0]
    if name in ("", "0"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({name}),"
            f" cannot verify user is non-root {where}"
        )
