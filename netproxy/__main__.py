"""``netproxy``: the network proxy of one node, by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys

import uvloop

from netproxy import boot
from netproxy.settings import NetProxySettings
from shim.api.flags import parse

DESCRIPTION = "Services as iptables rules, routes to other nodes' pods, and cluster DNS, for the node it runs on."


def main() -> int:
    """Run until SIGINT or SIGTERM."""
    settings = parse(NetProxySettings, "netproxy", DESCRIPTION)
    if os.geteuid() != 0:
        sys.stderr.write("netproxy: needs root: it changes the node's network\n")
        return 1
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(asyncio.CancelledError):
        runner.run(_until_told(settings))
    return 0


async def _until_told(settings: NetProxySettings) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await boot.run(settings, lambda: logging.getLogger("netproxy").info("ready"))


if __name__ == "__main__":
    sys.exit(main())
