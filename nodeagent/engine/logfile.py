"""What does a container's log look like? CRI's format, one line per line of output:

2016-10-06T00:17:09.669794202Z stdout F the line
2016-10-06T00:17:09.669794203Z stderr P the first 16 KiB of a long one (P: more of it follows)
"""

from __future__ import annotations

import os
import time

LONGEST = 16 * 1024  # bytes of one entry; longer lines are cut, as every CRI engine cuts them


class LogFile:
    """Appends what a container writes. Each stream's unfinished line waits for its end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._unfinished: dict[str, bytes] = {}
        self._second = (0, b"")
        if path:
            self.reopen()

    def reopen(self) -> None:
        """Go on in a new file of the same name: someone moved the old one away."""
        if self._fd >= 0:
            os.close(self._fd)
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, stream: str, data: bytes) -> None:
        """Log ``data``; all of its complete lines go out in one write."""
        if self._fd < 0:
            return
        data = self._unfinished.pop(stream, b"") + data
        *lines, rest = data.split(b"\n")
        stamp = self._stamp()
        whole = stamp + b" " + stream.encode() + b" F "
        part = stamp + b" " + stream.encode() + b" P "
        entries: list[bytes] = []
        for line in lines:
            while len(line) > LONGEST:
                entries += (part, line[:LONGEST], b"\n")
                line = line[LONGEST:]
            entries += (whole, line, b"\n")
        while len(rest) > LONGEST:
            entries += (part, rest[:LONGEST], b"\n")
            rest = rest[LONGEST:]
        if rest:
            self._unfinished[stream] = rest
        self._append(b"".join(entries))

    def finish(self) -> None:
        """The container has ended: a last line without a newline is a partial one."""
        for stream, rest in self._unfinished.items():
            self._append(self._stamp() + b" " + stream.encode() + b" P " + rest + b"\n")
        self._unfinished.clear()

    def _append(self, entry: bytes) -> None:
        if entry and self._fd >= 0:
            try:
                os.write(self._fd, entry)
            except OSError:  # a full disk costs log lines, never the container
                pass

    def _stamp(self) -> bytes:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if self._second[0] != seconds:
            self._second = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode())
        return b"%s.%09dZ" % (self._second[1], nanoseconds)
