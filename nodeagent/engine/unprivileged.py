"""How does a container's process become root of its pod's user namespace, and so nobody on the node?

What takes the node's own powers is done before: stacking layers, making device nodes, entering cgroups. What the
process owns from then on (its mount namespace, its cgroup namespace, its process ids) the user namespace owns.
"""

from __future__ import annotations

import os
import signal
import socket

from nodeagent.engine import wire
from nodeagent.engine.pace import Pace
from nodeagent.linux import libc, mounts, namespaces, userns

_PR_SET_PDEATHSIG = 1


def enter(request: wire.ContainerRequest, channel: socket.socket, users: int, pace: Pace) -> None:
    """Return as root of the user namespace ``users``, in mount and cgroup namespaces that it owns.

    With process ids of the container's own it is a child that returns: the first process of a namespace for them is
    the first that is forked after that namespace was made. The monitor, told over ``channel``, is its parent then.
    """
    own_ids = request["namespaces"].get("pid") == ""
    libc.setns(users, namespaces.USER)
    os.close(users)
    userns.become_root()
    pace.keep()  # where we are becomes the root of the cgroup namespace
    namespaces.unshare(namespaces.MOUNT | namespaces.CGROUP | (namespaces.PID if own_ids else 0))
    pace.leave()
    libc.mount("", "/", "", mounts.REC | mounts.PRIVATE)
    if own_ids:
        if first := os.fork():
            wire.send(channel, {"first": first})
            os._exit(0)
        if wire.receive(channel) is None:  # it waits until our parent has gone, whose end would end us
            raise wire.Failure("the container's monitor was lost")
        os.setsid()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # becoming another user and being forked have cleared it
