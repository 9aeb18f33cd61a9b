"""What the kubelet needs of the pod network; ``netproxy.links`` gives it, ``nodeagent.boot`` joins the two."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HostPort:
    """A container port that the node itself answers on."""

    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


class PodNetwork(Protocol):
    """Gives a sandbox's network namespace its interface, address and routes, and takes them back."""

    async def ready(self) -> bool:
        """Whether pods can be attached: the node has its pod CIDR and bridge."""

    async def set_pod_cidr(self, cidr: str) -> None:
        """Called when the Node object first tells its pod CIDR, and after every restart. Idempotent."""

    async def attach(self, sandbox: str, netns: str, ports: tuple[HostPort, ...] = ()) -> str:
        """Wire the namespace up and return the pod's address. Repeating it returns the same address."""

    def commands(self, sandbox: str, netns: str) -> list[str]:
        """What one would type to do what ``attach`` did."""

    def holds_back(self, sandbox: str) -> bool:
        """Whether nothing is forwarded for the pod as long as network policies do not know its address."""

    async def filtered(self, sandbox: str) -> None:
        """Return once network policies are in force for the pod, whose status with its address is on its way."""

    async def detach(self, sandbox: str) -> None:
        """Free the address, the interface and host ports. Idempotent; the namespace may be gone already."""

    async def retain(self, sandboxes: Collection[str]) -> None:
        """Detach all others: after a restart, those that went while nobody looked."""

    def close(self) -> None:
        """Let go; pods keep their network."""
