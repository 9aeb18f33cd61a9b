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
        due = [
            (entry, obj)
            for entry in self._cache.range(EVENTS)
            if now - _last_change(obj := entry.decode()) > self._keep
        ]
        for entry, obj in due:
            try:
                await self._cache.delete(entry.key, obj, expected=entry.revision)
            except Conflict:
                pass  # it happened again just now
        return len(due)


def _last_change(event: Object) -> datetime.datetime:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return max(parse_time(text) for text in times if text)
