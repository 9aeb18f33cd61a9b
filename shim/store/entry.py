"""What do readers get? An object's bytes as they are sent, encoded once, and what selectors need of it.

The store gives a write its revision after the object was encoded, so ``metadata.resourceVersion`` is spliced into
the bytes. ``kind``, ``apiVersion`` and ``metadata`` are written first: inside a string every quote is escaped, so
that the first ``"metadata":{`` of the bytes is the object's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from shim.api.meta import Object

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_METADATA = b'"metadata":{'
_REVISION = b'"metadata":{"resourceVersion":"'


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as readers get it."""

    key: str
    revision: int
    data: bytes
    """JSON with ``metadata.resourceVersion`` in place: what get, list and watch send."""
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    def decode(self) -> Object:
        """A fresh dictionary each time: the caller may change it."""
        decoded: Object = orjson.loads(self.data)
        return decoded


@dataclass(frozen=True, slots=True)
class Staged:
    """What is known of an own write before the store hands it back, so that its bytes need no decoding."""

    value: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    def entry(self, key: str, revision: int) -> Entry:
        """What it became by the store."""
        return Entry(key, revision, splice(self.value, revision), self.labels, self.fields)


def encode(obj: Object) -> bytes:
    """The bytes to store: without ``resourceVersion``, with what :func:`splice` looks for in front."""
    metadata = obj.get("metadata") or {}
    if "resourceVersion" in metadata:
        metadata = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    front: dict[str, Any] = {key: obj[key] for key in ("kind", "apiVersion") if key in obj}
    return orjson.dumps({**front, "metadata": metadata, **{k: v for k, v in obj.items() if k not in _FRONT}})


_FRONT = frozenset(("kind", "apiVersion", "metadata"))


def splice(value: bytes, revision: int) -> bytes:
    """Stored bytes with the revision put in."""
    head, found, tail = value.partition(_METADATA)
    if not found:
        raise ValueError(f"stored bytes have no metadata: {value[:80]!r}")
    end = b'"' if tail.startswith(b"}") else b'",'
    return b"%b%b%d%b%b" % (head, _REVISION, revision, end, tail)


def resplice(data: bytes, revision: int) -> bytes:
    """An entry's bytes with another revision."""
    head, _, tail = data.partition(_REVISION)
    return b"%b%b%d%b" % (head, _REVISION, revision, tail[tail.index(b'"') :])


class Event:
    """One change as watchers see it. Its line is made once, however many watchers there are."""

    __slots__ = ("_lines", "entry", "previous", "revision", "type")

    def __init__(self, type: EventType, entry: Entry, previous: Entry | None, revision: int) -> None:
        self.type, self.entry, self.previous, self.revision = type, entry, previous, revision
        self._lines: dict[str, bytes] | None = None

    def line(self, type: EventType | None = None) -> bytes:
        """``{"type":"ADDED","object":{...}}\\n`` as it is sent.

        ``type`` is what the event means to one watcher, where that differs: when an update makes an object match
        its selector it is ADDED; when it no longer matches it is DELETED, and shows the object as it last matched.
        """
        type = type or self.type
        if self._lines is None:
            self._lines = {}
        line = self._lines.get(type)
        if line is None:
            line = self._lines[type] = b'{"type":"%b","object":%b}\n' % (type.encode(), self.data(type))
        return line

    def data(self, type: EventType | None = None) -> bytes:
        """The object's bytes alone, for watchers that want another encoding than :meth:`line`."""
        if type == "DELETED" and self.type != "DELETED" and self.previous is not None:
            return resplice(self.previous.data, self.revision)
        return self.entry.data

    def forget_lines(self) -> None:
        """Free what :meth:`line` kept: history is seldom sent twice."""
        self._lines = None

    def __repr__(self) -> str:
        return f"Event({self.type} {self.entry.key} @{self.revision})"


def deletion(previous: Entry, revision: int, staged: Staged | None) -> Event:
    """Shows the final state as the deleter gave it, or as it was last stored; at the revision of the deletion."""
    if staged is not None:
        final = staged.entry(previous.key, revision)
    else:
        data = resplice(previous.data, revision)
        final = Entry(previous.key, revision, data, previous.labels, previous.fields)
    return Event("DELETED", final, previous, revision)
