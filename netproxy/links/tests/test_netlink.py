"""Looking up interfaces."""

from __future__ import annotations

import os
import socket

import pytest

from netproxy.links import namespaces, netlink
from netproxy.tests.kernel import ask_kernel, namespace, needs_root

pytestmark = needs_root


def _socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)


def test_an_interface_is_found_without_reading_any_other() -> None:
    """A socket that sends no message is enough: what it takes does not grow with the interfaces of the node."""
    with namespace(f"npn{os.getpid()}") as path, namespaces.inside(path), _socket() as mute:
        assert netlink.find(mute, "lo") == 1
        assert netlink.find(mute, "eth0") is None


@pytest.mark.parametrize("length", [15, 16, 40])
def test_a_name_is_found_whole_or_not_at_all(length: int) -> None:
    name = "longest-name-of"
    with namespace(f"npn{os.getpid()}") as path, namespaces.inside(path):
        ask_kernel(lambda kernel: kernel.link("add", ifname=name, kind="bridge"))
        with _socket() as there:
            found = netlink.find(there, name.ljust(length, "x"))
    assert (found is not None) == (length == len(name))
