"""The pod network of one node, as the kubelet sees it (``nodeagent.kubelet.network.PodNetwork``).

All work is done in one thread of its own, so that the agent's loop never waits for the kernel, and no two changes
meet. The thread is in the node's network namespace, as the process is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from netproxy.links import bridge, hostports, netlink, newcomers, veth
from netproxy.links.ipam import Leases

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds; enforcing takes some 30 ms
POLL = 0.01
P = ParamSpec("P")
T = TypeVar("T")


class HostPort(Protocol):
    """A container port that the node itself answers on."""

    @property
    def host_port(self) -> int: ...
    @property
    def container_port(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def host_ip(self) -> str: ...


class PodLinks:
    """Interfaces, addresses and host ports of a node's pods."""

    def __init__(self, state_dir: Path, node_ip: str) -> None:
        self._node_ip = node_ip
        self._leases = Leases(state_dir / "pod-addresses.json")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="links")
        self._bridge: int | None = None
        self._mtu = 1500
        self._leaving: set[str] = set()
        self._waiting: set[str] = set()  # sandboxes whose packets are held back; see links.newcomers

    async def ready(self) -> bool:
        """Whether pods can be attached: the node has its pod CIDR and bridge."""
        return self._bridge is not None

    async def set_pod_cidr(self, cidr: str) -> None:
        """Called when the Node object first tells its pod CIDR, and after every restart. Idempotent."""
        await self._do(self._set_pod_cidr, cidr)

    async def attach(self, sandbox: str, netns: str, ports: Iterable[HostPort] = ()) -> str:
        """Wire the namespace up and return the pod's address. Repeating it returns the same address."""
        return await self._do(self._attach, sandbox, netns, tuple(ports))

    def commands(self, sandbox: str, netns: str) -> list[str]:
        """What one would type to do what ``attach`` did."""
        lease = self._leases.held[sandbox]
        return veth.commands(sandbox, netns, bridge.NAME, lease.address, str(self._leases.gateway), self._mtu)

    def holds_back(self, sandbox: str) -> bool:
        """Whether nothing is forwarded for the pod as long as network policies do not know its address."""
        return sandbox in self._waiting

    async def filtered(self, sandbox: str) -> None:
        """Return once network policies are in force for a pod; at once where there are none.

        Who enforces them learns the pod's address from its status, so that has to be on its way. Without an enforcer
        the pod starts all the same after a while, but nothing is forwarded for it.
        """
        if sandbox not in self._waiting:
            return
        self._waiting.discard(sandbox)
        address = self._leases.held[sandbox].address
        try:
            async with asyncio.timeout(PATIENCE):
                while await self._do(newcomers.waits, address):  # noqa: ASYNC110  # the kernel has no event for it
                    await asyncio.sleep(POLL)
        except TimeoutError:
            log.warning("%s is cut off until network policies are in force, after %g s still", address, PATIENCE)

    async def detach(self, sandbox: str) -> None:
        """Free the address, the interface and host ports. Idempotent; the namespace may be gone already."""
        if sandbox in self._leases.held:
            self._leaving.add(sandbox)
            await self._do(self._detach_leaving)

    async def retain(self, sandboxes: Collection[str]) -> None:
        """Detach all others: after a restart, those that went while nobody looked."""
        self._leaving.update(self._leases.held.keys() - set(sandboxes))
        await self._do(self._detach_leaving)

    def close(self) -> None:
        """End the thread; pods keep their network. What it has begun is done by then: nothing is written later."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    # In the thread.

    def _set_pod_cidr(self, cidr: str) -> None:
        if self._bridge is not None and cidr == self._leases.cidr:
            return
        with netlink.connect() as kernel:
            self._mtu = netlink.mtu_at(kernel, self._node_ip)
            self._bridge = bridge.ensure(kernel, cidr, self._mtu)
        self._leases.use(cidr)
        if self._has_ports():
            hostports.apply(self._leases.held.values())

    def _attach(self, sandbox: str, netns: str, ports: tuple[HostPort, ...]) -> str:
        if self._bridge is None:
            raise RuntimeError("the node has no pod CIDR yet")
        wanted = [(port.host_port, port.container_port, port.protocol, port.host_ip) for port in ports]
        known = sandbox in self._leases.held
        lease = self._leases.acquire(sandbox, wanted)
        if not known and newcomers.hold_back(lease.address):  # before the link is there: it cannot send earlier
            self._waiting.add(sandbox)
        veth.attach(sandbox, netns, self._bridge, lease.address, self._leases.gateway, self._mtu)
        if wanted:
            hostports.apply(self._leases.held.values())
            hostports.forget_flows(wanted)
        return lease.address

    def _detach_leaving(self) -> None:
        """Everyone who wants to leave by now goes at once; later callers find their work done."""
        leaving = [sandbox for sandbox in list(self._leaving) if sandbox in self._leases.held]
        self._leaving.difference_update(leaving)
        if not leaving:
            return
        freed = [port for sandbox in leaving for port in self._leases.held[sandbox].ports]
        veth.remove(leaving)
        self._waiting.difference_update(leaving)
        for sandbox in leaving:
            self._leases.release(sandbox)  # after the link is gone: nobody else can have the address before
        if freed:
            hostports.apply(self._leases.held.values())
            hostports.forget_flows(freed)

    def _has_ports(self) -> bool:
        return any(lease.ports for lease in self._leases.held.values())
