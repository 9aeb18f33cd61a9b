"""What is in the file of the SQLite store, and what its threads do with it: one table, ``log``, of every change.

What is current is the newest row of a key. A file of an earlier version is brought up to date when it is opened.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from shim.api.keys import EVENTS
from shim.store.contract import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY,
    key      TEXT NOT NULL,
    value    BLOB,              -- NULL: the key was deleted
    previous INTEGER NOT NULL,  -- the revision this replaced, 0 when the key was absent
    expires  REAL               -- seconds since 1970 after which the key is deleted, NULL: never
);
CREATE INDEX IF NOT EXISTS log_key ON log (key, revision);
CREATE TABLE IF NOT EXISTS compaction (revision INTEGER NOT NULL);
INSERT INTO compaction SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM compaction);
"""

_MOVED = (  # since writes can expire, keys are upstream's
    ("/registry/services/", "/registry/services/specs/"),
    ("/registry/endpoints/", "/registry/services/endpoints/"),
    ("/registry/nodes/", "/registry/minions/"),
    ("/registry/replicationcontrollers/", "/registry/controllers/"),
    ("/registry/ingresses/", "/registry/ingress/"),
    ("/registry/nodeports/", "/registry/ranges/servicenodeports/"),
)
_EVENTS_LAST = 3600.0  # seconds that events are still kept which were written when nothing expired by itself

Row = tuple[int, str, bytes | None, int, float | None]
"""revision, key, value, previous, expires"""


def lock(path: Path) -> int:
    """Keep a second process out: each would give out the same revisions. Raises StoreError."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreError(f"{path} is in use by another process") from None
    return descriptor


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=32)
    os.chmod(path, 0o600)  # Secrets are in it
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit returns when the log is on the disk
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MB: hot rows are copied to the table less often
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an earlier version up to date."""
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(log)")}
    if columns and "expires" not in columns:
        _upgrade(connection)
    connection.executescript(_SCHEMA)


def _upgrade(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ALTER TABLE log ADD COLUMN expires REAL")
    for before, now in _MOVED:
        connection.execute(
            "UPDATE log SET key = ? || substr(key, ?) WHERE key GLOB ?", (now, len(before) + 1, f"{before}*")
        )
    connection.execute("UPDATE log SET expires = ? WHERE key GLOB ?", (time.time() + _EVENTS_LAST, f"{EVENTS}*"))
    connection.execute("COMMIT")


def current(connection: sqlite3.Connection) -> Iterable[tuple[str, int, float | None]]:
    """Every key that is there, the revision of its value, and when that expires."""
    rows = connection.execute("SELECT key, max(revision), value IS NULL, expires FROM log GROUP BY key")
    return ((key, revision, expires) for key, revision, gone, expires in rows if not gone)


def append(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write changes, durably and all or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("INSERT INTO log (revision, key, value, previous, expires) VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # SQLite itself rolls back after some errors
            connection.execute("ROLLBACK")
        raise


def forget(connection: sqlite3.Connection, start: int, end: int) -> None:
    """Delete what the changes in (start, end] superseded, and the deletions among them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision > ? AND revision <= ?)",
            (start, end),
        )
        connection.execute("DELETE FROM log WHERE revision > ? AND revision <= ? AND value IS NULL", (start, end))
        connection.execute("UPDATE compaction SET revision = ?", (end,))
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
