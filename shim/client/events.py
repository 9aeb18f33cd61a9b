"""How does a part tell users what it did? It records events; repeats are counted instead of written again.

Recording never waits and never fails: events are told to the server one after another in the background, a moment
later than they happen, and are dropped when it cannot be reached for long or when one object has far too many.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shim.api.meta import GVR, Object, now, now_micro
from shim.api.status import ApiError
from shim.client import resource as r
from shim.client.backoff import Backoff
from shim.client.transport import Unreachable

log = logging.getLogger(__name__)

REMEMBERED = 4096  # as client-go: events whose repeats are counted
WAITING = 1000  # events not yet told; older ones are dropped
LATER = 0.05  # seconds; what they tell of goes on first: four took a tenth of the time that a pod needs to start
ATTEMPTS = 12
SIMILAR, SIMILAR_SECONDS = 10, 600  # this many with different messages in ten minutes become one "combined" event
COMBINED = "(combined from similar events):"
BURST, REFILL = 25, 1 / 300  # events of one component about one object: 25, then one in five minutes


@dataclass(slots=True)
class _Source:
    """What was said about one object: a bucket of tokens against floods."""

    tokens: float = BURST
    filled: float = field(default_factory=time.monotonic)

    def spend(self) -> bool:
        present = time.monotonic()
        self.tokens = min(BURST, self.tokens + (present - self.filled) * REFILL)
        self.filled = present
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _Recent(OrderedDict[tuple[str, ...], object]):
    """A mapping that forgets what was used longest ago."""

    def remember(self, key: tuple[str, ...], value: object) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > REMEMBERED:
            self.popitem(last=False)


class Sink(Protocol):
    """Where events are told: a client, or the store of the server itself. Both may raise ApiError."""

    async def create(self, gvr: GVR, obj: Object, namespace: str | None) -> Object:
        """Store a new event."""

    async def patch(self, gvr: GVR, name: str, patch: Object, namespace: str | None) -> Object:
        """Merge into one that was told before."""


class EventRecorder:
    """Records core/v1 events as ``component`` (on ``host``).

    ``series`` is the style of events.k8s.io, which the scheduler uses: ``eventTime``, ``action`` and a series
    instead of first and last timestamps and a count.
    """

    def __init__(self, client: Sink, component: str, host: str = "", *, series: bool = False) -> None:
        self._client = client
        self._component, self._host, self._series = component, host, series
        self._sources = _Recent()
        self._similar = _Recent()
        self._known = _Recent()
        self._waiting: deque[tuple[tuple[str, ...], Object]] = deque(maxlen=WAITING)
        self._teller: asyncio.Task[None] | None = None

    def event(
        self,
        obj: Object,
        type: str,
        reason: str,
        message: str,
        *,
        field_path: str | None = None,
        action: str = "",
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Record that ``reason`` happened to ``obj``; ``type`` is Normal or Warning."""
        involved = _reference(obj, field_path)
        about = (involved.get("uid", ""), involved["kind"], involved.get("namespace", ""), involved["name"])
        if not self._spend(about):
            return
        kind = (*about, involved.get("fieldPath", ""), type, reason)
        message = self._combined(kind, message)
        # as client-go: what was combined is reported by nobody, and only its source tells
        component, host = ("", "") if message.startswith(COMBINED) else (self._component, self._host)
        moment = now()
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{involved['name']}.{time.time_ns():x}",
                "namespace": involved.get("namespace") or "default",
            },
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": type,
            "reportingComponent": component,
            "reportingInstance": host,
        }
        if annotations:
            event["metadata"]["annotations"] = dict(annotations)
        if self._series:
            event |= {
                "eventTime": now_micro(),
                "action": action or reason,
                "source": {},
                "reportingInstance": f"{self._component}-{self._host}" if self._host else self._component,
            }
        else:
            source = {"component": self._component, "host": self._host}
            event |= {
                "source": {name: value for name, value in source.items() if value},
                "firstTimestamp": moment,
                "lastTimestamp": moment,
                "count": 1,
            }
        self._waiting.append(((*kind, message), event))
        if self._teller is None or self._teller.done():
            self._teller = asyncio.get_running_loop().create_task(self._tell_all())

    async def flush(self) -> None:
        """Wait until everything recorded so far was told (or dropped)."""
        if self._teller is not None:
            await self._teller

    def _spend(self, about: tuple[str, ...]) -> bool:
        source = self._sources.get(about)
        if source is None:
            source = _Source()
        self._sources.remember(about, source)
        assert isinstance(source, _Source)
        return source.spend()

    def _combined(self, kind: tuple[str, ...], message: str) -> str:
        """Past ten different messages about the same, one event stands for all further ones."""
        present = time.monotonic()
        since, messages = present, set[str]()
        remembered = self._similar.get(kind)
        if remembered is not None:
            assert isinstance(remembered, tuple)
            since, messages = remembered
            if present - since > SIMILAR_SECONDS:
                since, messages = present, set()
        messages.add(message)
        self._similar.remember(kind, (since, messages))
        return message if len(messages) < SIMILAR else f"{COMBINED} {message}"

    async def _tell_all(self) -> None:
        await asyncio.sleep(LATER)
        while self._waiting:
            key, event = self._waiting.popleft()
            if key[-1].startswith(COMBINED):
                key = (*key[:-1], COMBINED)
            backoff = Backoff()
            for _ in range(ATTEMPTS):
                try:
                    await self._tell(key, event)
                    break
                except Unreachable:
                    await backoff.wait()
                except ApiError as error:
                    # a namespace that is going away takes no new events; nobody will miss them
                    log.debug("event %s %s not recorded: %s", event["reason"], event["involvedObject"]["name"], error)
                    break

    async def _tell(self, key: tuple[str, ...], event: Object) -> None:
        known = self._known.get(key)
        if isinstance(known, dict):
            try:
                await self._repeat(known, event)
                return
            except ApiError as error:
                if error.code != 404:  # it expired: this is a first one again
                    raise
        await self._client.create(r.EVENTS, event, event["metadata"]["namespace"])
        self._known.remember(key, {**event, "times": 1})

    async def _repeat(self, known: Object, event: Object) -> None:
        known["times"] += 1
        if self._series:
            patch: Object = {"series": {"count": known["times"], "lastObservedTime": event["eventTime"]}}
        else:
            patch = {"count": known["times"], "lastTimestamp": event["lastTimestamp"], "message": event["message"]}
        metadata = known["metadata"]
        await self._client.patch(r.EVENTS, metadata["name"], patch, metadata["namespace"])


def _reference(obj: Object, field_path: str | None) -> Object:
    metadata = obj["metadata"]
    reference = {
        "kind": obj["kind"],
        "apiVersion": obj["apiVersion"],
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
        "fieldPath": field_path,
    }
    return {name: value for name, value in reference.items() if value}
