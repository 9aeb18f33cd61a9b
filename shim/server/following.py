"""What has changed? Keys under a prefix of the store, one batch after the other, without end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from shim.api.status import ApiError
from shim.store.cache import Cache
from shim.store.contract import StoreError

RETRY = 1.0  # seconds until that is tried again which the store did not take
LAST_RETRY = 8.0  # the longest, where each try is later than the last: what is refused now may be for good
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


async def insist(act: Callable[[], Awaitable[None]], what: str) -> None:
    """Do something until what it writes is taken, by admission and by the store.

    ``what``: of what the log speaks when it is not. Whatever was done by then must do no harm a second time.
    """
    while True:
        try:
            await act()
            return
        except (ApiError, StoreError, TimeoutError) as error:
            log.warning("%s: %s; trying again", what, error)
            await asyncio.sleep(RETRY)


async def keep(cache: Cache, prefix: str, settle: Callable[[], Awaitable[None]], what: str) -> None:
    """Until cancelled: ``settle`` at first and after every change under a prefix, until what it writes is taken."""
    async for _ in follow(cache, prefix):
        await insist(settle, what)


async def whenever(woken: asyncio.Event, act: Callable[[], Awaitable[bool]]) -> None:
    """Until cancelled: act when woken, and by itself, later each time, as long as it says that something is left."""
    pause: float | None = None
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await woken.wait()
        later = RETRY if pause is None or woken.is_set() else min(2 * pause, LAST_RETRY)
        woken.clear()
        pause = later if await act() else None
