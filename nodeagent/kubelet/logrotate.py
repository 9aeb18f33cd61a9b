"""Container logs do not fill the disk: one that grows past 10 MiB goes on in a new file, and five are kept.

A file moved away is named after the time, as ``0.log.20261123-101500``; all but the newest such are compressed.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import shutil
import time
from pathlib import Path

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.kubelet import names
from nodeagent.kubelet.inventory import Inventory

log = logging.getLogger(__name__)

LIMIT = 10 << 20
KEPT = 5  # with the one that is written to
EVERY = 10.0


async def keep_small(inventory: Inventory, engine: Engine) -> None:
    """Look at every running container's log now and then, until cancelled."""
    while True:
        await asyncio.sleep(EVERY)
        await rotate(inventory, engine, LIMIT)


async def rotate(inventory: Inventory, engine: Engine, limit: int) -> None:
    """Move away each log that is larger than ``limit`` bytes."""
    for state in inventory.running():
        path = Path(state.labels.get(names.CONTAINER_LOG) or "/nowhere")
        try:
            if path.stat().st_size <= limit:
                continue
            path.rename(f"{path}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
            await engine.reopen_log(state.id)
            await asyncio.to_thread(_tidy, path)
        except FileNotFoundError:
            continue
        except (OSError, EngineError) as error:
            log.warning("log %s not rotated: %s", path, error)


def _tidy(path: Path) -> None:
    old = sorted(path.parent.glob(f"{path.name}.*"))  # by name is by time
    for extra in old[: -(KEPT - 1)]:
        extra.unlink(missing_ok=True)
    for file in old[-(KEPT - 1) : -1]:
        if file.suffix != ".gz":
            with file.open("rb") as source, gzip.open(f"{file}.gz", "wb", compresslevel=1) as target:
                shutil.copyfileobj(source, target)
            file.unlink()
