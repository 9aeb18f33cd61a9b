"""What things are called: labels of sandboxes and containers, folders of a pod, cgroups, log files.

An agent that starts anew finds its pods by these names alone, so they must never depend on anything it remembers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from shim.api.meta import Object

RUNTIME = "kubeshim"
"""Prefix of container ids in the API: ``kubeshim://<id>``."""

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
POD_GRACE = "io.kubernetes.pod.terminationGracePeriod"
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_ATTEMPT = "io.kubernetes.container.restartCount"
CONTAINER_IMAGE = "io.kubernetes.container.image"
CONTAINER_ASKED = "io.kubernetes.container.image.asked"  # in the words of the spec
CONTAINER_IMAGE_ID = "io.kubernetes.container.imageID"
CONTAINER_MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"  # on the node
CONTAINER_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
CONTAINER_GIVEN = "io.kubernetes.container.resources"  # requests and limits, as JSON
CONTAINER_LOG = "io.kubernetes.container.logpath"
SANDBOX_ATTEMPT = "io.kubernetes.sandbox.attempt"

CONFIG_SOURCE = "kubernetes.io/config.source"  # annotations of static pods, and of their mirrors in the API
CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_SEEN = "kubernetes.io/config.seen"
CONFIG_MIRROR = "kubernetes.io/config.mirror"

ContainerKind = Literal["initContainers", "containers", "ephemeralContainers"]
STATUSES: dict[ContainerKind, str] = {
    "initContainers": "initContainerStatuses",
    "containers": "containerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}
"""Where a pod's status tells of the containers of each list, in the order the lists start."""


def new_id() -> str:
    """An id for a sandbox or a container, as runtimes make them: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def uid_of(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def annotation(pod: Object, name: str) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(name) or "")


def is_mirror(pod: Object) -> bool:
    """Whether the pod only shows, in the API, what a static pod does."""
    return bool(annotation(pod, CONFIG_MIRROR))


def is_static(pod: Object) -> bool:
    """Whether the pod comes from this node's folder of manifests, or from its page of them."""
    return annotation(pod, CONFIG_SOURCE) in ("file", "http") and not is_mirror(pod)


def pod_text(pod: Object) -> str:
    """How messages name a pod: ``web_default(uid)``."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta['namespace']}({meta['uid']})"


def pod_labels(pod: Object) -> dict[str, str]:
    meta = pod["metadata"]
    return {
        POD_NAME: meta["name"],
        POD_NAMESPACE: meta["namespace"],
        POD_UID: meta["uid"],
        POD_GRACE: str(grace_of(pod)),
    }


def grace_of(pod: Object) -> int:
    """Seconds a pod's containers have between the stop signal and SIGKILL."""
    granted = pod["metadata"].get("deletionGracePeriodSeconds")
    if granted is None:
        granted = pod["spec"].get("terminationGracePeriodSeconds")
    return int(granted if granted is not None else 30)


def containers_of(pod: Object) -> Iterator[tuple[ContainerKind, Object]]:
    """Every container of the spec with the list it stands in, in the order they start."""
    spec = pod["spec"]
    for kind in STATUSES:
        for container in spec.get(kind) or ():
            yield kind, container


def lasting_of(pod: Object) -> Iterator[Object]:
    """Its containers but the ephemeral ones, in the order they start."""
    return (container for kind, container in containers_of(pod) if kind != "ephemeralContainers")


def find_container(pod: Object, name: str) -> tuple[ContainerKind, Object] | None:
    return next(((kind, c) for kind, c in containers_of(pod) if c["name"] == name), None)


def statuses_of(status: Object) -> Iterator[Object]:
    """What a pod's status tells of each container, in the same order."""
    for key in STATUSES.values():
        yield from status.get(key) or ()


def field_path(kind: ContainerKind, name: str) -> str:
    """How an event points at a container: ``spec.containers{web}``."""
    return f"spec.{kind}{{{name}}}"


def is_sidecar(kind: ContainerKind, container: Object) -> bool:
    """An init container that stays: started in its turn, restarted for ever, stopped last."""
    return kind == "initContainers" and container.get("restartPolicy") == "Always"


class Paths:
    """Where the files of pods are, below the node's data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.pods = data_dir / "pods"
        self.logs = data_dir / "logs" / "pods"
        self.seccomp = data_dir / "seccomp"  # profiles that pods may name

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    def steps(self, uid: str) -> Path:
        return self.pod(uid) / "steps.json"

    def volume(self, uid: str, name: str) -> Path:
        return self.pod(uid) / "volumes" / name

    def container(self, uid: str, name: str) -> Path:
        return self.pod(uid) / "containers" / name

    def pod_logs(self, pod: Object) -> Path:
        meta = pod["metadata"]
        return self.logs / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"

    def log(self, pod: Object, container: str, attempt: int) -> Path:
        return self.pod_logs(pod) / container / f"{attempt}.log"
