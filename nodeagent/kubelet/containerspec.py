"""From a container of the API to one of the engine: everything said about it in one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nodeagent.engine.contract import ContainerSpec, Device, Image, Mount
from nodeagent.kubelet import names, resources
from nodeagent.kubelet.environment import command_line
from nodeagent.kubelet.errors import ConfigError
from nodeagent.kubelet.names import Paths
from nodeagent.kubelet.resize import due, due_text, limits_of
from nodeagent.kubelet.resources import NO_SWAP, Swap
from nodeagent.kubelet.security import security_of
from nodeagent.kubelet.subpaths import make_sub_path, sub_path
from shim.api.meta import Object

WRITTEN_BY_API = frozenset(("configMap", "secret", "downwardAPI", "projected"))
_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container finds around it: the pod's sandbox, its files and volumes, the node."""

    sandbox: str
    files: Mapping[str, Path]  # of the pod, by where containers see them: /etc/hosts ...
    volumes: Mapping[str, Path]
    memory_capacity: int
    swap: Swap = NO_SWAP
    seccomp_default: bool = True  # system calls are filtered unless the pod says how they are to be
    images: Mapping[str, str] = field(default_factory=dict)  # ids, by the name of the volume that is an image
    running: Mapping[str, str] = field(default_factory=dict)  # ids of the pod's running containers, by name


def container_spec(
    pod: Object,
    container: Object,
    *,
    id: str,
    attempt: int,
    image: Image,
    values: Mapping[str, str],
    around: Surroundings,
    paths: Paths,
) -> ContainerSpec:
    """``values``: the variables the pod gives it. Raises ConfigError."""
    uid, name = names.uid_of(pod), container["name"]
    security = security_of(pod, container, image.config, filtered=around.seccomp_default)
    message = paths.container(uid, name) / id[:8]
    log = paths.log(pod, name, attempt)
    return ContainerSpec(
        id=id,
        sandbox=around.sandbox,
        image=image.id,
        argv=command_line(container, image.config.entrypoint, image.config.cmd, values),
        env=tuple(values.items()),
        cwd=container.get("workingDir") or image.config.cwd or "/",
        user=security.user,
        groups=security.groups,
        groups_of_image=security.groups_of_image,
        mounts=tuple(_mounts(pod, container, around, values, message)),
        devices=_devices(pod, container, around.volumes),
        resources=limits_of(due(pod, container), around.swap.limit(pod, container)),
        capabilities=security.capabilities,
        privileged=security.privileged,
        readonly_root=security.readonly_root,
        no_new_privileges=security.no_new_privileges,
        seccomp=security.seccomp,
        seccomp_profile=str(paths.seccomp / security.seccomp_profile) if security.seccomp_profile else "",
        masked_paths=security.masked_paths,
        readonly_paths=security.readonly_paths,
        tty=bool(container.get("tty")),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        pid_of=_target(container, around.running),
        stop_signal=(container.get("lifecycle") or {}).get("stopSignal") or image.config.stop_signal or "SIGTERM",
        oom_score_adj=resources.oom_score(pod, container, around.memory_capacity),
        log_path=str(log),
        labels={
            **names.pod_labels(pod),
            names.CONTAINER_NAME: name,
            names.CONTAINER_ATTEMPT: str(attempt),
            names.CONTAINER_IMAGE: shown_image(container["image"], image),
            names.CONTAINER_ASKED: container["image"],
            names.CONTAINER_IMAGE_ID: image.digests[0] if image.digests else image.id,
            names.CONTAINER_MESSAGE_PATH: str(message),
            names.CONTAINER_MESSAGE_POLICY: container.get("terminationMessagePolicy") or "File",
            names.CONTAINER_GIVEN: due_text(pod, container),
            names.CONTAINER_LOG: str(log),
        },
    )


def shown_image(asked: str, image: Image) -> str:
    """The image's full name as status tells it: the tag that was asked for, if it has it."""
    bare = asked.partition("@")[0]
    named = bare if ":" in bare.rpartition("/")[2] else f"{bare}:latest"
    for tag in image.tags:
        if tag == named or tag.endswith(f"/{named}"):
            return tag
    return image.tags[0] if image.tags else asked


def _target(container: Object, running: Mapping[str, str]) -> str:
    """Whose processes an ephemeral container is to see (``kubectl debug --target``)."""
    name = container.get("targetContainerName")
    if not name:
        return ""
    if name not in running:
        raise ConfigError(f"unable to find target container {name}")
    return running[name]


def _mounts(
    pod: Object, container: Object, around: Surroundings, values: Mapping[str, str], message: Path
) -> list[Mount]:
    """Parents before children, so that none hides another. What the API wrote, containers can only read."""
    volumes = pod["spec"].get("volumes") or ()
    written = {volume["name"] for volume in volumes if not WRITTEN_BY_API.isdisjoint(volume)}
    found = {target: Mount(str(source), target) for target, source in around.files.items()}
    told = container.get("terminationMessagePath") or "/dev/termination-log"
    found[told] = Mount(str(message), told)
    for mount in container.get("volumeMounts") or ():
        target = str(PurePosixPath("/", mount["mountPath"]))
        if (image := around.images.get(mount["name"])) is not None:
            found[target] = Mount(image, target, readonly=True, kind="image", sub=sub_path(mount, values))
            continue
        volume = _volume(mount, around.volumes, f'mount into container "{container["name"]}"')
        if sub := sub_path(mount, values):
            make_sub_path(volume, sub, mount, container)
        found[target] = Mount(
            source=str(volume),
            target=target,
            sub=sub,
            readonly=bool(mount.get("readOnly")) or mount["name"] in written,
            readonly_below=readonly_below(mount),
            propagation=_PROPAGATION.get(mount.get("mountPropagation") or "", "private"),  # type: ignore[arg-type]
        )
    return sorted(found.values(), key=lambda mount: mount.target.rstrip("/").count("/"))


def _devices(pod: Object, container: Object, volumes: Mapping[str, Path]) -> tuple[Device, ...]:
    """Block volumes; one that the pod claims for reading only is opened for nothing else."""
    told = {each["name"]: each.get("persistentVolumeClaim") or {} for each in pod["spec"].get("volumes") or ()}
    into = f'pass into container "{container["name"]}"'
    return tuple(
        Device(str(_volume(device, volumes, into)), device["devicePath"], bool(told[device["name"]].get("readOnly")))
        for device in container.get("volumeDevices") or ()
    )


def readonly_below(mount: Object) -> bool:
    """Whether what is mounted below a read-only volume is to be read-only too (KEP-3857); the kernel can do it."""
    return (mount.get("recursiveReadOnly") or "Disabled") != "Disabled"


def _volume(mount: Object, volumes: Mapping[str, Path], purpose: str) -> Path:
    volume = volumes.get(mount["name"])
    if volume is None:
        raise ConfigError(f'cannot find volume "{mount["name"]}" to {purpose}')
    return volume
