"""What the node's HTTP server may ask of the kubelet: which container is meant, and where its log is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nodeagent.kubelet.meters import Meters
from shim.api.meta import Object


class NotFound(Exception):
    """No such pod or container on this node; the message is for the user."""


class NotReady(Exception):
    """It exists but cannot be used (yet); the message is for the user, with status 400."""


@dataclass(frozen=True, slots=True)
class Target:
    """One container of a pod, as the engine knows it."""

    container: str  # the engine's id of its newest run
    sandbox: str
    log_path: Path
    running: bool
    tty: bool


class PodSource(Protocol):
    """The pods of this node, for whoever serves logs and streams."""

    def pods(self) -> list[Object]:
        """Every pod bound to this node, with the status this kubelet last told (or will tell at once)."""

    def running_pods(self) -> list[Object]:
        """Every pod of which a container runs, with no more than the engine knows of it."""

    def pod(self, namespace: str, name: str) -> Object:
        """Raises NotFound."""

    def container(self, namespace: str, pod: str, container: str) -> Target:
        """The newest run of a container. Raises NotFound."""

    def sandbox(self, namespace: str, pod: str) -> str:
        """The engine's id of the pod's sandbox, for port forwarding. Raises NotFound, NotReady when it is not up."""

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Path:
        """The log file to read. Raises NotFound; NotReady with upstream's words when there is none yet."""

    async def summary(self, *, only_cpu_and_memory: bool = False) -> Object:
        """What node and pods use, in the shape of ``/stats/summary``."""

    def settings(self) -> Object:
        """This kubelet's configuration, as ``KubeletConfiguration`` of kubelet.config.k8s.io/v1beta1."""

    def probes(self) -> Mapping[tuple[str, ...], int]:
        """How often each probe had which result: by container, pod, namespace, uid, kind and result."""

    def mirrors(self) -> int:
        """How many static pods the API shows."""

    def went_down(self) -> tuple[float, float]:
        """When the last orderly end of all pods began and was over, in seconds since the epoch; 0: not."""

    def evictions(self) -> Mapping[str, int]:
        """How many pods were sent away, by what the node was short of."""

    @property
    def meters(self) -> Meters:
        """What the kubelet counts as it works."""

    def own_users(self) -> Mapping[str, int]:
        """How many pods with user namespaces were ``started``, and how many ``failed`` to."""

    def log_of(self, target: str) -> Path | None:
        """The newest log of a container id, to notice when a follower's container was started anew."""
