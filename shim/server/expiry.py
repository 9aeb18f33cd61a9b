"""Events are news: they are thrown away after an hour."""

from __future__ import annotations

import asyncio
import datetime
import logging

from shim.api.meta import Object, parse_time
from shim.store.cache import Cache
from shim.store.contract import Conflict, StoreError

log = logging.getLogger(__name__)

EVENTS = "/registry/events/"
KEEP = 3600.0  # upstream's --event-ttl
EVERY = 60.0
AT_ONCE = 200  # events looked at before others have their turn: a few milliseconds


class Expiry:
    """Deletes events whose last change is too long ago."""

    def __init__(self, cache: Cache, keep: float = KEEP) -> None:
        self._cache = cache
        self._keep = datetime.timedelta(seconds=keep)

    async def run(self, interval: float = EVERY) -> None:
        """Look about once a minute until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.tick(datetime.datetime.now(datetime.UTC))
            except StoreError as error:
                log.warning("expiry of events: %s", error)

    async def tick(self, now: datetime.datetime) -> int:
        """Delete what is due; returns how many."""
        deleted = 0
        for number, entry in enumerate(self._cache.range(EVENTS)):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            obj = entry.decode()
            if now - _last_change(obj) <= self._keep:
                continue
            try:
                await self._cache.delete(entry.key, obj, expected=entry.revision)
            except Conflict:
                continue  # it happened again just now, or somebody else has deleted it
            deleted += 1
        return deleted


def _last_change(event: Object) -> datetime.datetime:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return max(parse_time(text) for text in times if text)
