"""What the container engine takes and gives: values and one Protocol. It knows no Kubernetes.

The kubelet speaks to the engine in these terms only, as a real kubelet does in CRI's
(https://github.com/kubernetes/cri-api): a sandbox is the namespaces that a pod's containers share,
a container is a process with a root file system and limits of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from nodeagent.linux.diskuse import DiskUse
from nodeagent.linux.pressure import Pressure


class EngineError(Exception):
    """The engine could not do what was asked; the message is for the user."""


class ImageMissing(EngineError):
    """No such image on this machine."""


class StartFailed(EngineError):
    """A container's process could not be started; ``code`` is what a shell would exit with (126, 127, 128)."""

    def __init__(self, message: str, code: int = 128) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits of a cgroup; None leaves the kernel's default."""

    cpu_shares: int | None = None  # cgroup v1 scale: 1024 is one CPU; converted for v2
    cpu_quota_us: int | None = None  # per period; None is unlimited
    cpu_period_us: int = 100_000
    memory_limit: int | None = None  # bytes
    swap_limit: int | None = None  # bytes beside those of memory
    pids_limit: int | None = None
    huge_pages: tuple[tuple[int, int], ...] | None = None  # bytes by the size of pages, of others none; version 2 only
    die_together: bool = False  # when the kernel kills one process for memory, all others go too; version 2 only


@dataclass(frozen=True, slots=True)
class Mount:
    """Something of the node made visible in a container."""

    source: str
    target: str
    readonly: bool = False
    kind: Literal["bind", "tmpfs", "image"] = "bind"  # image: ``source`` is an image's id; always read-only
    options: str = ""  # tmpfs only: "size=64m,mode=1777"
    propagation: Literal["private", "rslave", "rshared"] = "private"
    readonly_below: bool = True  # what is mounted below a read-only source is read-only too
    sub: str = ""  # of an image or a folder: the folder or file in it that is meant, links lead not outside


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the node that a container may use, by a name of its own."""

    source: str
    target: str
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    id: str
    hostname: str
    cgroup: str  # below the node's cgroup root, e.g. "kubepods/burstable/pod<uid>"
    resources: Resources = Resources()
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_pid: bool = False
    own_users: bool = False  # a user namespace: root in it is an unprivileged user of the node
    sysctls: tuple[tuple[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)  # kept and given back; the kubelet finds its own by them


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    id: str
    sandbox: str
    image: str  # an image id or reference known to the image store
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()  # what it lacks of the image's, PATH, HOSTNAME and HOME, the engine adds
    cwd: str = "/"
    user: str = "0"  # "uid", "uid:gid", "name" or "name:group", looked up in the container's own /etc/passwd
    groups: tuple[int, ...] = ()  # supplementary
    groups_of_image: bool = True  # besides these, those that the container's own /etc/group lists its user in
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    resources: Resources = Resources()
    capabilities: frozenset[str] = frozenset()  # bounding, permitted and effective set, as "CAP_CHOWN"
    privileged: bool = False
    readonly_root: bool = False
    no_new_privileges: bool = False
    seccomp: bool = False  # the engine's own filter of system calls (what Kubernetes calls RuntimeDefault)
    seccomp_profile: str = ""  # instead of that one, the file of a profile in the OCI runtime's JSON
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    pid_of: str = ""  # id of a running container of the sandbox whose processes this one is to be among (kubectl debug)
    stop_signal: str = "SIGTERM"
    oom_score_adj: int = 0
    log_path: str = ""  # lines in CRI format are appended here; "" keeps none
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxState:
    id: str
    ready: bool  # False once stopped, or after a reboot took its namespaces
    netns: str  # path of its network namespace; "" with the host's
    created_at: float  # seconds since the epoch
    labels: Mapping[str, str]
    resources: Resources | None = None  # in force around its containers; None: nobody knows


@dataclass(frozen=True, slots=True)
class ContainerState:
    id: str
    sandbox: str
    image: str
    phase: Literal["created", "running", "exited"]
    labels: Mapping[str, str]
    pid: int = 0  # as the node sees it; 0 unless running
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0  # 128 + signal when a signal ended it
    signal: int = 0
    oom_killed: bool = False
    message: str = ""  # why it could not be started
    user: tuple[int, int, tuple[int, ...]] | None = None  # id, group, all groups it began with; None: it never ran


@dataclass(frozen=True, slots=True)
class ImageConfig:
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True, slots=True)
class Image:
    id: str  # "sha256:..." of its configuration
    tags: tuple[str, ...]  # as shown: "docker.io/library/busybox:1.36"
    digests: tuple[str, ...]  # "docker.io/library/busybox@sha256:..."
    size: int  # bytes of its layers, unpacked
    config: ImageConfig
    pulled: bool = False  # from a registry, not imported or made here


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """What an image's root file system is stacked from."""

    layers: str  # folder of unpacked layers
    lower: tuple[str, ...]  # their names in it, the uppermost first
    trees: Mapping[str, str] = field(default_factory=dict)  # place in the root -> folder of the node laid over it


class Process(Protocol):
    """A running command whose standard streams the caller holds (exec and attach)."""

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None  # None with a terminal: its output is all on stdout

    def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        """The exit code; 128 + signal when a signal ended it."""

    async def close(self) -> None:
        """Let go of the streams; a process started by exec is killed if it still runs."""


class Engine(Protocol):
    """Every method may be repeated safely: stopping what is stopped and removing what is gone succeed."""

    no_own_users: str  # why sandboxes cannot have user namespaces here; "" when they can

    async def start(self) -> None:
        """Find the zygote or start one, and take up what an earlier agent left running."""

    async def close(self) -> None:
        """Let go; containers run on."""

    async def teardown(self) -> None:
        """Stop and remove everything this node made: processes, mounts, cgroups, files under /run."""

    async def limit_group(self, cgroup: str, resources: Resources) -> None:
        """Make a cgroup that sandboxes stand in (``kubepods/burstable``), or change its limits. Raises EngineError."""

    async def run_sandbox(self, spec: SandboxSpec) -> SandboxState: ...

    async def update_sandbox(self, sandbox: str, resources: Resources) -> SandboxState:
        """Give all its containers together other limits. Raises EngineError."""

    async def stop_sandbox(self, sandbox: str) -> None: ...

    async def remove_sandbox(self, sandbox: str) -> None: ...

    async def sandboxes(self) -> list[SandboxState]: ...

    async def create_container(self, spec: ContainerSpec) -> ContainerState:
        """Prepare the root file system and cgroup. Raises ImageMissing, EngineError."""

    async def start_container(self, container: str) -> ContainerState:
        """Run its process. Raises StartFailed; the container is then exited with that code and message."""

    async def update_container(self, container: str, resources: Resources, labels: Mapping[str, str]) -> ContainerState:
        """Give it other limits as it runs, and change these labels. Raises EngineError."""

    async def stop_container(self, container: str, grace: float) -> None:
        """Send the stop signal, after ``grace`` seconds SIGKILL; return when it has exited."""

    async def remove_container(self, container: str) -> None: ...

    async def containers(self) -> list[ContainerState]: ...

    def events(self) -> AsyncIterator[ContainerState]:
        """A state each time a container starts or exits, from the call on."""

    async def exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        size: tuple[int, int] | None = None,
    ) -> Process:
        """Run a command beside the container's process. Raises StartFailed, EngineError.

        ``size`` is rows and columns of its terminal: set before it runs, so that it never sees another.
        """

    async def attach(self, container: str) -> Process: ...

    async def reopen_log(self, container: str) -> None:
        """Go on in a new file at ``log_path``; the old one has been moved away."""

    async def netns_of(self, sandbox: str) -> str:
        """Path of the sandbox's network namespace (the node's own with host_network)."""

    async def usage(self, container: str) -> Mapping[str, int]:
        """``cpu_ns``, ``memory_bytes`` (working set), ``pids`` now. Raises EngineError.

        Also ``memory_usage`` (with cache), ``memory_rss``, ``memory_swap``, ``page_faults`` and ``major_page_faults``,
        and what the kernel tells besides: ``cpu_user_ns``, ``cpu_system_ns``, ``periods``, ``throttled_periods``,
        ``throttled_ns``, ``memory_cache``, ``memory_mapped_file``, ``memory_active_file``, ``memory_inactive_file``,
        ``memory_most`` and ``swap_free`` (of a limit).
        """

    async def pressure(self, cgroup: str) -> Pressure:
        """How long work stood still in a cgroup (``kubepods/pod<uid>``); nothing where it is not counted.

        Raises EngineError.
        """

    async def disk_usage(self, container: str) -> DiskUse:
        """Of what it changed in its root file system. Raises EngineError."""

    async def node_usage(self) -> Mapping[str, int]:
        """The same of everything on the node, what has ended since it started included. Raises EngineError."""


class ImageStore(Protocol):
    """Images on this machine, shared by its nodes."""

    folder: str  # all that it keeps is below

    def root(self, image: str) -> ImageRoot:
        """How to build the root file system of the image with this id. Raises ImageMissing."""

    def use(self, image: str, container_dir: str, *, wait: bool = True) -> None:
        """The image is in use as long as ``container_dir`` exists; until then ``remove`` refuses.

        Waits while somebody imports or collects images, or else raises BlockingIOError. Raises ImageMissing.
        """

    def release(self, container_dir: str) -> None:
        """Forget that ``container_dir``, which is gone, used an image. Nothing happens where that is not known."""

    def find(self, reference: str) -> Image | None:
        """By id, tag (``busybox`` means ``docker.io/library/busybox:latest``) or digest."""

    def images(self) -> list[Image]: ...

    def used_at(self, image: str) -> float:
        """When a container was last made of it, or it came here. Raises OSError when it is gone."""

    def remove(self, reference: str) -> list[str]:
        """Remove a tag, and the image with its last one; returns what went. Raises ImageMissing."""

    async def pull(self, reference: str, credentials: Sequence[Any] = ()) -> Image:
        """Fetch an image from its registry, with the first of these ``images.credentials.Credential`` that may.

        Raises EngineError in words for the pod's status.
        """

    def allowed(self, image: str, reference: str, credentials: Sequence[Any]) -> bool:
        """Whether somebody with these credentials, or none, may use an image by its id that was pulled by this name."""

    def import_archive(self, path: str, tag: str = "") -> list[Image]:
        """docker-archive or OCI archive (tar, also gzipped), or an OCI layout folder. Raises EngineError."""
