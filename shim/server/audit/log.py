"""The file of the audit log: lines are appended, and the file is put aside when it is large."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger(__name__)

MEGABYTE = 1 << 20
DEFAULT_SIZE = 100  # megabytes, where no limit is said
DAY = 86400.0


class AuditLog:
    """Appends lines. A line is written before the request it tells of goes on."""

    def __init__(self, path: str, *, max_size: int = 0, max_age: int = 0, max_backup: int = 0) -> None:
        """``-`` is standard output. ``max_size`` in megabytes, ``max_age`` in days; 0 keeps all. Raises OSError."""
        self._path = Path(path)
        self._limit = (max_size or DEFAULT_SIZE) * MEGABYTE
        self._max_age, self._max_backup = max_age, max_backup
        self._to_stdout = path == "-"
        self._file: BinaryIO = sys.stdout.buffer if self._to_stdout else self._open()
        self._size = 0 if self._to_stdout else self._path.stat().st_size
        self.written = 0  # lines, by this process

    def write(self, line: bytes) -> None:
        """A line with its end; what cannot be written is told, and stops nothing."""
        try:
            if not self._to_stdout and self._size and self._size + len(line) > self._limit:
                self._rotate()
            self._file.write(line)
            self._file.flush()
            self._size += len(line)
            self.written += 1
        except OSError as error:
            log.error("audit log %s: %s", self._path, error)

    def close(self) -> None:
        if not self._to_stdout:
            self._file.close()

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            self._path.touch(0o600)
        return self._path.open("ab")

    def _rotate(self) -> None:
        """Put the file aside under the time it ended, as ``audit-2026-01-02T03-04-05.678.log``."""
        self._file.close()
        present = datetime.now(UTC)
        stamp = f"{present:%Y-%m-%dT%H-%M-%S}.{present.microsecond // 1000:03d}"
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._file, self._size = self._open(), 0
        self._discard()

    def _discard(self) -> None:
        kept = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}"), reverse=True)
        for number, backup in enumerate(kept):
            old = self._max_age and backup.stat().st_mtime < time.time() - self._max_age * DAY
            if old or (self._max_backup and number >= self._max_backup):
                backup.unlink()
