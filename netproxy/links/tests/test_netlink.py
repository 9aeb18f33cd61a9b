"""Looking interfaces up, and changing them."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from netproxy.links import changes, namespaces, netlink
from netproxy.tests.kernel import ask_kernel, interfaces, namespace, needs_root

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


def test_of_many_changes_each_is_tried_and_the_first_failure_told() -> None:
    """More than are told at once: the kernel goes on behind what it refuses, and no answer is taken for another's."""
    kind = ("IFLA_LINKINFO", changes.within(("IFLA_INFO_KIND", "bridge")))
    names = [f"bridge{number}" for number in range(100)]
    with namespace(f"npn{os.getpid()}") as path:
        with changes.connect(path) as kernel:
            missing = changes.set_link(4711, up=True)
            with pytest.raises(OSError, match="set link 4711") as failure:
                changes.tell(kernel, *(changes.add_link(name, kind) for name in names[:99]), missing, missing)
            assert failure.value.errno == errno.ENODEV
            changes.tell(kernel, missing._replace(passing=(errno.ENODEV,)), changes.add_link(names[99], kind))
            with pytest.raises(OSError, match="add link bridge0"):
                changes.tell(kernel, changes.add_link("bridge0", kind))
        with namespaces.inside(path):
            assert set(interfaces()) >= set(names)
