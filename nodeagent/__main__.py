"""``nodeagent``: the kubelet and container engine of one node, alone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from nodeagent.settings import NodeAgentSettings
from shim.api.flags import parse


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(NodeAgentSettings, "nodeagent", "Run the pods bound to one node. Needs root.", argv)
    if os.geteuid() != 0:
        sys.stderr.write("nodeagent: must be root: it makes namespaces, cgroups and mounts\n")
        return 1
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_run(settings))
    return 0


async def _run(settings: NodeAgentSettings) -> None:
    from nodeagent import boot

    task = asyncio.ensure_future(boot.run(settings, lambda: logging.info("ready")))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass


if __name__ == "__main__":
    sys.exit(main())
