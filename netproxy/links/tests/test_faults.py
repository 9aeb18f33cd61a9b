"""A link made worse, and well again."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netproxy import firewall
from netproxy.links import faults, namespaces
from netproxy.tests.kernel import UDP_SERVER, namespace, needs_root, run, running, udp_ask

pytestmark = needs_root
OTHER = "198.18.7.1"


@pytest.fixture
def node() -> Iterator[Path]:
    """A namespace whose ``eth0`` leads to another."""
    with namespace(f"npf{os.getpid()}-n") as node, namespace(f"npf{os.getpid()}-o") as other:
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other.name, inside=node)
        for netns, address in ((node, "198.18.7.2"), (other, OTHER)):
            run("ip", "addr", "add", f"{address}/24", "dev", "eth0", inside=netns)
            run("ip", "link", "set", "eth0", "up", inside=netns)
        with running("python3", "-Sc", UDP_SERVER, "other", "53", inside=other):
            yield node


def answered(node: Path, times: int = 1) -> int:
    """How many of so many datagrams were answered."""
    with namespaces.inside(node):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(0.5)
        for _ in range(times):
            with contextlib.suppress(PermissionError):  # the rule drops it before it leaves
                asking.sendto(b"?", (OTHER, 53))
        count = 0
        with contextlib.suppress(TimeoutError):
            while count < times:
                asking.recv(100)
                count += 1
        return count


def test_a_cut_link_is_silent_until_it_is_healed(node: Path) -> None:
    assert answered(node)
    faults.partition(node)
    assert not answered(node)
    faults.heal(node)
    faults.heal(node)
    assert answered(node)
    with namespaces.inside(node):
        assert "SHIM-FAULT" not in firewall.save("mangle")


def test_a_lossy_link_loses_some_packets_and_not_others(node: Path) -> None:
    faults.lose(node, 50)
    assert 0 < answered(node, 100) < 100  # a quarter of them goes both ways
    faults.lose(node, 100)
    assert not answered(node)
    faults.heal(node)
    assert answered(node)


def test_a_slow_link_is_slow_where_the_kernel_can_make_it_so(node: Path) -> None:
    try:
        faults.delay(node, 300)
    except faults.NoSuchFault:
        return  # it says why
    began = time.monotonic()
    assert udp_ask(OTHER, 53, inside=node, patience=5)
    assert time.monotonic() - began >= 0.3
    faults.heal(node)
    assert answered(node)
