"""How is a container set up although the processor it may use would hardly do? Beside its cgroups, until it is.

With version 1 only the cgroup that limits CPU time is left meanwhile, with version 2, where one does it all, every one.
Who is killed there was in nobody's way, and nothing of the container's has run: it comes back before that.
"""

from __future__ import annotations

import os

from nodeagent.engine import wire


class Pace:
    """Out of the limit and back into it. The files are opened now, as long as they are in sight and the powers held."""

    def __init__(self, request: wire.PaceRequest) -> None:
        self._aside, self._back = ([os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in paths]
                                   for paths in (request["aside"], request["back"]))  # fmt: skip

    def leave(self) -> None:
        for fd in self._aside:
            os.write(fd, b"0")

    def keep(self) -> None:
        for fd in self._back:
            os.write(fd, b"0")
