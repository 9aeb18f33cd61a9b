from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shim.store.contract import StoreError
from shim.store.sqlite import SQLiteStore, open_sqlite
from shim.store.tests.contract_suite import StoreContract, take


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = open_sqlite(tmp_path / "store.db")
    yield opened
    await opened.close()


class TestContract(StoreContract):
    """The SQLite store keeps the contract."""


async def test_a_reopened_store_goes_on_where_it_was(tmp_path: Path) -> None:
    first = open_sqlite(tmp_path / "store.db")
    await first.put("/a", b"1")
    await first.put("/a", b"2")
    revision = await first.delete("/a")
    await first.put("/b", b"1")
    await first.close()

    second = open_sqlite(tmp_path / "store.db")
    assert [record.value for record in (await second.range("/")).records] == [b"1"]
    assert await second.put("/a", b"3", expected=0) == revision + 2
    assert [change.value for change in await take(second.watch(2), 4)] == [b"2", None, b"1", b"3"]
    await second.compact(revision)
    await second.close()

    third = open_sqlite(tmp_path / "store.db")
    assert await third.put("/c", b"1") == revision + 3
    await third.close()


async def test_what_expires_while_the_store_is_closed_is_deleted_when_it_is_open_again(tmp_path: Path) -> None:
    first = open_sqlite(tmp_path / "store.db")
    revision = await first.put("/a", b"1", ttl=0.01)
    await first.close()
    second = open_sqlite(tmp_path / "store.db")
    assert [change.value for change in await take(second.watch(revision), 1)] == [None]
    await second.close()


async def test_a_file_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """Its keys were others, and nothing in it expired."""
    with sqlite3.connect(tmp_path / "store.db") as old:
        old.execute("CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT, value BLOB, previous INTEGER NOT NULL)")
        before = ("services/ns/web", "endpoints/ns/web", "nodes/n1", "pods/ns/p", "events/ns/e")
        rows = [(number, f"/registry/{key}", b"x") for number, key in enumerate(before, 2)]
        old.executemany("INSERT INTO log VALUES (?, ?, ?, 0)", rows)
    store = open_sqlite(tmp_path / "store.db")
    keys = [record.key.removeprefix("/registry/") for record in (await store.range("/")).records]
    assert keys == ["events/ns/e", "minions/n1", "pods/ns/p", "services/endpoints/ns/web", "services/specs/ns/web"]
    assert 3500 < (store._expiries.next or 0) - time.time() <= 3600
    assert await store.put("/registry/minions/n1", b"y", expected=4) == 7
    await store.close()


async def test_a_second_process_is_kept_out(store: SQLiteStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="in use by another process"):
        open_sqlite(tmp_path / "store.db")


async def test_writes_that_are_queued_together_share_a_commit(store: SQLiteStore) -> None:
    watch = store.watch(1)
    await asyncio.gather(*(store.put(f"/{number}", b"x") for number in range(200)))
    batches = []
    while sum(map(len, batches)) < 200:
        batches.append(await anext(watch))
    assert len(batches) < 100


async def test_a_full_disk_fails_the_writes_and_no_more(store: SQLiteStore) -> None:
    await store.put("/a", b"kept")
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    large = b"x" * 100_000

    results = await asyncio.gather(
        store.put("/big", large), store.put("/big", b"after"), store.delete("/a"), return_exceptions=True
    )
    assert all(isinstance(result, StoreError) for result in results)
    assert [record.value for record in (await store.range("/")).records] == [b"kept"]

    assert await store.put("/a", b"small") == 3
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert await store.put("/big", large, expected=0) == 4


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "store.db")
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.put("/a", b"1")


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    asyncio.run(open_sqlite(tmp_path / "store.db").close())
    assert os.stat(tmp_path / "store.db").st_mode & 0o777 == 0o600


WRITER = """
import asyncio, os, sys
from shim.store.sqlite import open_sqlite

async def main():
    store = open_sqlite(sys.argv[1])
    async def write(worker):
        for number in range(100000):
            revision = await store.put(f"/{worker}/{number}", b"x" * 500)
            os.write(1, b"%d /%d/%d\\n" % (revision, worker, number))  # acknowledged: said before the next is begun
    await asyncio.gather(*map(write, range(8)))
asyncio.run(main())
"""


async def test_kill_9_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for _ in range(3):
        process = subprocess.Popen(  # noqa: ASYNC220 (nothing else runs on this loop)
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        process.wait()
        process.stdout.close()

        store = open_sqlite(path)
        found = {record.key: record.revision for record in (await store.range("/")).records}
        for line in acknowledged:
            revision, key = line.decode().split()
            assert found[key] == int(revision)
        await store.close()
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("something else, long enough to be taken for a header " * 10)
    with pytest.raises(StoreError, match=r"store\.db: file is not a database"):
        open_sqlite(tmp_path / "store.db")
