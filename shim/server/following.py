"""What has changed? Keys under a prefix of the store, one batch after the other, without end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from shim.store.cache import Cache
from shim.store.contract import StoreError

RETRY = 1.0  # seconds until that is tried again which the store did not take
PAUSE = 0.1  # seconds; a watch that ends at once must not keep everything else from running

log = logging.getLogger(__name__)


async def follow(cache: Cache, prefix: str) -> AsyncIterator[set[str]]:
    """Yield the keys that may have changed since the last time: at first, and after a lost watch, all there are.

    Whoever follows must also notice by itself which keys are gone that it knew.
    """
    while True:
        watch = cache.watch(prefix, since=cache.revision)
        try:
            yield {entry.key for entry in cache.range(prefix)}
            async for events in watch:
                yield {event.entry.key for event in events}
        except StoreError as error:
            log.warning("following %s: %s; beginning anew", prefix, error)
        finally:
            watch.close()
        await asyncio.sleep(PAUSE)


async def keep(cache: Cache, prefix: str, settle: Callable[[], Awaitable[None]], what: str) -> None:
    """Until cancelled: ``settle`` at first and after every change under a prefix, until the store takes what it writes.

    ``what``: of what the log speaks when the store does not.
    """
    async for _ in follow(cache, prefix):
        while True:
            try:
                await settle()
                break
            except StoreError as error:
                log.warning("%s: %s; trying again", what, error)
                await asyncio.sleep(RETRY)
