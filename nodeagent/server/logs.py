"""A container's log as a client asks for it: since, tail, with times, followed while it grows.

The files are in CRI's format, a line each: time, stream, tag (F: a full line, P: a part of one), text.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shim.api.meta import parse_time

POLL = 0.05  # seconds between looks at a followed file: a look is one read, and a person waits
BLOCK = 1 << 16
STREAMS = ("All", "Stdout", "Stderr")


class Unreadable(ValueError):
    """The options cannot be read at all."""


class Invalid(ValueError):
    """They can, and make no sense."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What ``kubectl logs`` can ask for; see PodLogOptions."""

    follow: bool = False
    tail: int | None = None
    since: datetime.datetime | None = None
    timestamps: bool = False
    limit: int | None = None  # bytes
    stream: str = "All"

    @classmethod
    def of(cls, query: Mapping[str, str]) -> LogOptions:
        """From a query; ``tail`` is an older name. Raises Unreadable, Invalid; the API server has told why before."""

        def number(*names: str) -> int | None:
            text = next((query[name] for name in names if query.get(name)), None)
            try:
                return int(text) if text is not None else None
            except ValueError as error:
                raise Unreadable(str(error)) from None

        def true(name: str) -> bool:
            return name in query and query[name].lower() not in ("0", "false")

        seconds, time = number("sinceSeconds"), query.get("sinceTime")
        tail = None if query.get("tail") == "all" else number("tail", "tailLines")
        limit, stream = number("limitBytes"), query.get("stream") or "All"
        try:
            since = parse_time(time) if time else None
        except ValueError as error:
            raise Unreadable(str(error)) from None
        if seconds is not None:
            if since is not None or seconds < 1:
                raise Invalid("sinceSeconds")
            since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
        if (tail is not None and tail < 0) or (limit is not None and limit < 1):
            raise Invalid("tailLines or limitBytes")
        if stream not in STREAMS or (stream != "All" and tail is not None):
            raise Invalid("stream")
        return cls(true("follow"), tail, since, true("timestamps"), limit, stream)


async def read_log(path: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log in pieces; with ``follow`` until ``running()`` is false and everything has been read."""
    left = options.limit
    with path.open("rb") as file:
        if options.tail is not None:
            file.seek(tail_position(file, options.tail))
        rest = b""
        while True:
            alive = running()  # asked before reading: what was written before the end is still read
            data = file.read(BLOCK)
            if not data:
                if not options.follow or not alive:
                    return
                await asyncio.sleep(POLL)
                continue
            *lines, rest = (rest + data).split(b"\n")
            shown = b"".join(text for line in lines if (text := show(line, options)))
            if not shown:
                continue
            if left is not None:
                shown, left = shown[:left], left - len(shown)
            yield shown
            if left is not None and left <= 0:
                return


def show(line: bytes, options: LogOptions) -> bytes:
    """One line of the file as the client sees it; empty when it is left out."""
    time, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if options.stream != "All" and stream.decode() != options.stream.lower():
        return b""
    if options.since is not None and parse_time(_micro(time.decode())) < options.since:
        return b""
    end = b"" if tag == b"P" else b"\n"
    return (time + b" " + text if options.timestamps else text) + end


def _micro(time: str) -> str:
    """Python reads microseconds, the file has nanoseconds."""
    head, dot, fraction = time.partition(".")
    return f"{head}.{fraction.rstrip('Z')[:6]}Z" if dot else time


def tail_position(file: BinaryIO, lines: int) -> int:
    """Where the last ``lines`` full lines begin."""
    end = file.seek(0, 2)
    if lines == 0:
        return end
    position, data, wanted = end, b"", lines
    while position > 0:
        step = min(BLOCK, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
        starts = _full_line_starts(data, at_start=position == 0)
        if len(starts) >= wanted:
            return position + starts[-wanted]
    starts = _full_line_starts(data, at_start=True)
    return starts[-wanted] if len(starts) >= wanted else 0


def _full_line_starts(data: bytes, *, at_start: bool) -> list[int]:
    """Offsets at which a line of output begins: the file's lines, less those that continue a part."""
    starts, offset, continued = [], 0, not at_start
    for line in data.splitlines(keepends=True):
        if not continued:
            starts.append(offset)
        continued = line.split(b" ", 3)[2:3] == [b"P"]
        if offset == 0 and not at_start:
            continued = line.split(b" ", 3)[2:3] == [b"P"] or not line.endswith(b"\n")
        offset += len(line)
    return starts
