"""What has changed? Keys under a prefix of the store, one batch after the other, without end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from shim.store.cache import Cache
from shim.store.contract import StoreError

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
