"""How does the event loop read and write a pipe or a terminal's master?

Not by ``connect_read_pipe`` and ``connect_write_pipe``. When a terminal's last user has gone, the kernel still has
that one's last output and says EIO only after it: an error to asyncio, while uvloop stops reading too early; and
uvloop reads from what it should only write to, which takes away a terminal's output.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

_READ = 64 * 1024
_HIGH, _LOW = 256 * 1024, 64 * 1024  # bytes waiting to be written: ``drain`` waits above the first, until the second


def read_from(fd: int) -> tuple[asyncio.BaseTransport, asyncio.StreamReader]:
    """A reader of ``fd``, which is closed at its end."""
    reader = asyncio.StreamReader()
    return _Reading(fd, reader), reader


def write_to(fd: int) -> tuple[asyncio.BaseTransport, asyncio.StreamWriter]:
    """A writer to ``fd``, which is closed with it."""
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport = _Writing(fd, protocol)
    return transport, asyncio.StreamWriter(transport, protocol, None, loop)


class _Reading(asyncio.ReadTransport):
    def __init__(self, fd: int, reader: asyncio.StreamReader) -> None:
        super().__init__()
        os.set_blocking(fd, False)
        self._fd = fd
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._paused = False
        reader.set_transport(self)
        self._loop.add_reader(fd, self._ready)

    def _ready(self) -> None:
        try:
            data = os.read(self._fd, _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._reader.feed_data(data)
        else:
            self.close()

    def pause_reading(self) -> None:  # the StreamReader has enough for now
        if self._fd >= 0 and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if self._fd >= 0 and self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._ready)

    def is_closing(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._reader.feed_eof()


class _Writing(asyncio.WriteTransport):
    def __init__(self, fd: int, protocol: asyncio.StreamReaderProtocol) -> None:
        super().__init__()
        os.set_blocking(fd, False)
        self._fd = fd
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._waiting = self._full = self._ending = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._fd < 0 or self._ending:
            return
        self._buffer += data
        if not self._waiting:
            self._flush()
        if self._fd >= 0 and len(self._buffer) > _HIGH and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def _flush(self) -> None:
        try:
            while self._buffer:
                del self._buffer[: os.write(self._fd, self._buffer[:_READ])]
        except BlockingIOError:
            pass
        except OSError:  # the reader has gone; who writes on is told by ``drain``
            self.abort()
            return
        if self._buffer and not self._waiting:
            self._waiting = True
            self._loop.add_writer(self._fd, self._flush)
        elif not self._buffer and self._waiting:
            self._waiting = False
            self._loop.remove_writer(self._fd)
        if self._full and len(self._buffer) <= _LOW:
            self._full = False
            self._protocol.resume_writing()
        if self._ending and not self._buffer:
            self.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._ending or self._fd < 0

    def close(self) -> None:
        """Once all is written."""
        self._ending = True
        if not self._buffer:
            self.abort()

    def abort(self) -> None:
        """Now."""
        if self._fd < 0:
            return
        if self._waiting:
            self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._buffer.clear()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default
