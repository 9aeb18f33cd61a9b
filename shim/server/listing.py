"""How is a list written without holding everybody up? In slices, whichever form and format it takes.

The bytes of stored objects are sent as they are; every other form decodes, converts and encodes object by object. A
list is its head, its items and its tail, so that none of it has to be there at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

import orjson

from shim.api.meta import Object
from shim.codec import yamltext
from shim.codec.media import protobuf
from shim.server import errors
from shim.server.negotiation import JSON, PROTOBUF, YAML
from shim.server.parts import Call
from shim.server.render import PARTIAL, check_protobuf, go_type, partial, rows, table
from shim.store.cache import Entry

TURN = 0.008  # seconds of work after which others have their turn; a slice more or less may be on top
SLICES = {JSON: 64, YAML: 4, PROTOBUF: 16}  # objects that are converted together: about a millisecond
STORED_SLICE = 256  # objects whose bytes are copied together
SLICE_BYTES = 128 * 1024  # of larger objects fewer are converted together


class Pace:
    """Long work asks now and then whether it is somebody else's turn."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + TURN

    async def step(self) -> None:
        """Let others run when this has had its turn."""
        if time.perf_counter() > self._until:
            await asyncio.sleep(0)
            self._until = time.perf_counter() + TURN


def slices(entries: Sequence[Entry], size: int, most: float) -> Iterator[Sequence[Entry]]:
    """So many entries at a time, and no more once they come to so many bytes."""
    start = 0
    while start < len(entries):
        end = min(start + size, len(entries))
        if most != math.inf:
            left = most
            for index in range(start, end):
                left -= len(entries[index].data)
                if left <= 0:
                    end = index + 1
                    break
        yield entries[start:end]
        start = end


class ListWriter:
    """Writes one list in the form and format its client wants. Raises 406 when there is no such form."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._rendering = call.rendering
        self.media = self._rendering.media
        if self.media == PROTOBUF:
            kind, api_version = self._kind()
            check_protobuf(call, api_version, kind)

    def pieces(self, entries: Sequence[Entry], meta: Object) -> AsyncIterator[bytes]:
        """The list's bytes in order, some at a time. Raises 406."""
        if self._rendering.form == PARTIAL:
            raise errors.not_for_lists(go_type(self._call.resource))
        order = self._call.resource.strategy.table_order
        if order is not None and self._rendering.form == "Table":
            entries = sorted(entries, key=lambda entry: order(entry.decode()))
        if self.media == PROTOBUF:
            return self._protobuf(entries, meta)
        if self.media == YAML:
            return self._yaml(entries, meta)
        return self._as_stored(entries, meta) if self._rendering.plain else self._json(entries, meta)

    async def _as_stored(self, entries: Sequence[Entry], meta: Object) -> AsyncIterator[bytes]:
        """Stored bytes, from behind the kind: in a list, items do not repeat it. Those of custom resources do."""
        resource = self._call.resource
        brace, front = b"{", len(b'{"kind":"","apiVersion":"",') + len(resource.kind) + len(resource.api_version)
        if resource.custom:
            brace, front = b"", 0
        shown = self._call.parts.registry.shown if resource.from_storage or resource.revive else None
        yield self._head(meta)
        opening, between = brace, b"," + brace
        async for batch in self._batches(entries, STORED_SLICE, SLICE_BYTES if shown else math.inf):
            yield opening
            # views, not slices: a copy of every item would cost more than the join
            yield between.join([memoryview(shown(resource, entry) if shown else entry.data)[front:] for entry in batch])
            opening = between
        yield b"]}\n"

    async def _json(self, entries: Sequence[Entry], meta: Object) -> AsyncIterator[bytes]:
        yield self._head(meta)
        opening = b""
        async for batch in self._batches(entries, SLICES[JSON]):
            yield opening
            yield orjson.dumps(self._items(batch))[1:-1]
            opening = b","
        yield b"]}\n"

    def _head(self, meta: Object) -> bytes:
        name, frame = self._frame(meta)
        return orjson.dumps(frame)[:-1] + b',"%b":[' % name.encode()

    async def _yaml(self, entries: Sequence[Entry], meta: Object) -> AsyncIterator[bytes]:
        name, frame = self._frame(meta)
        before = {key: value for key, value in frame.items() if key < name}  # keys are sorted
        after = {key: value for key, value in frame.items() if key > name}
        yield yamltext.dumps(before) + name.encode() + (b":\n" if entries else b": []\n")
        async for batch in self._batches(entries, SLICES[YAML]):
            yield yamltext.dumps(self._items(batch))
        if after:
            yield yamltext.dumps(after)

    async def _protobuf(self, entries: Sequence[Entry], meta: Object) -> AsyncIterator[bytes]:
        """The envelope's length stands before the items, which are therefore all written first."""
        converter = protobuf(self._call.parts.schema)
        kind, api_version = self._kind()
        pieces = [converter.fragment(api_version, kind, {"metadata": meta})]
        async for batch in self._batches(entries, SLICES[PROTOBUF]):
            pieces.append(converter.fragment(api_version, kind, {"items": self._items(batch)}))
        front, back = converter.envelope(api_version, kind, sum(map(len, pieces)))
        yield front
        for piece in pieces:
            yield piece
        yield back

    async def _batches(
        self, entries: Sequence[Entry], size: int, most: float = SLICE_BYTES
    ) -> AsyncIterator[Sequence[Entry]]:
        pace = Pace()
        for batch in slices(entries, size, most):
            await pace.step()
            yield batch

    def _kind(self) -> tuple[str, str]:
        """What the list is, and in which version."""
        resource, rendering = self._call.resource, self._rendering
        if rendering.form:
            return rendering.form, f"meta.k8s.io/{rendering.version}"
        return resource.list_kind, resource.api_version

    def _frame(self, meta: Object) -> tuple[str, Object]:
        """The name of the list's items, and all its other fields."""
        if self._rendering.form == "Table":
            frame = table(self._call, [], meta)
            del frame["rows"]
            return "rows", frame
        kind, api_version = self._kind()
        if self._call.resource.custom and not self._rendering.form:
            meta = {"continue": "", **meta}
        return "items", {"kind": kind, "apiVersion": api_version, "metadata": meta}

    def _items(self, batch: Iterable[Entry]) -> list[Object]:
        """Objects as the list holds them."""
        shown = self._call.parts.registry.shown
        objects: Iterable[Object] = (orjson.loads(shown(self._call.resource, entry)) for entry in batch)
        if self._rendering.form == "Table":
            return rows(self._call, objects)
        if self._rendering.form:
            return [partial(obj, self._rendering.version) for obj in objects]
        if self._call.resource.custom:
            return list(objects)
        return [{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")} for obj in objects]
