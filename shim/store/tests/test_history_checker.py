"""The checker lets good histories pass and tells every kind of broken word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.store.contract import Change, Record
from shim.store.tests.history_checker import Broken, History, Read, Told

CHANGES = [
    Change("/a", 2, b"1"),
    Change("/b", 3, b"1"),
    Change("/a", 4, b"2", Record("/a", b"1", 2)),
    Change("/b", 5, None, Record("/b", b"1", 3)),
]
THERE = {"/a": (b"2", 4)}


def history(changes: list[Change]) -> History:
    made = History()
    for change in changes:
        made.show(change)
    return made


def test_what_fits_passes() -> None:
    good = history(CHANGES)
    for told in (Told("/a", b"1", 2), Told("/a", b"2", 4), Told("/b", None, 5)):
        good.tell(told)
    for read in (Read("/a", (b"1", 2), 3, 2), Read("/b", None, 5, 4), Read("/c", None, 5, 5)):
        good.answer(read)
    assert good.known == 5
    good.judge(THERE)


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ([CHANGES[0], *CHANGES[2:], CHANGES[1]], THERE),  # out of order
        ([CHANGES[0], CHANGES[0], *CHANGES[1:]], THERE),  # twice
        (CHANGES[1:], THERE),  # one is missing that was changed again
        (CHANGES[:3], THERE),  # the last one is missing: something is there that is not
        ([*CHANGES, Change("/c", 6, b"1")], THERE),  # a change that never was
    ],
)
def test_a_watch_that_lies_is_found(changes: list[Change], there: dict[str, tuple[bytes, int]]) -> None:
    with pytest.raises(Broken):
        history(changes).judge(there)


@pytest.mark.parametrize(
    "lie",
    [
        lambda made: made.tell(Told("/a", b"3", 6)),  # acknowledged and lost
        lambda made: made.tell(Told("/a", b"1", 3)),  # at another revision
        lambda made: made.tell(Told("/a", None, 4)),  # deleted, but there
        lambda made: made.answer(Read("/a", (b"1", 2), 4, 4)),  # an old value
        lambda made: made.answer(Read("/b", None, 3, 3)),  # not yet there
        lambda made: made.answer(Read("/a", (b"1", 2), 3, 4)),  # right for then, but a later write was known
    ],
)
def test_writers_and_readers_that_are_told_lies_are_found(lie: Callable[[History], None]) -> None:
    made = history(CHANGES)
    lie(made)
    with pytest.raises(Broken):
        made.judge(THERE)
