from __future__ import annotations

from random import Random

import pytest

from shim.store import shelf
from shim.store.entry import Entry
from shim.store.shelf import Shelf


def entry(key: str, revision: int = 1) -> Entry:
    return Entry(key, revision, b"", {}, {})


def test_a_shelf_holds_what_a_sorted_dictionary_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LONGEST", 6)  # so that runs are parted and joined all the time
    random, expected, found = Random(7), dict[str, Entry](), Shelf()
    for revision in range(2000):
        key = f"{random.randrange(60):03d}"
        grows = 0.7 if revision % 600 < 300 else 0.2
        if key in expected and random.random() > grows:
            del expected[key]
            found.remove(key)
        elif key in expected or random.random() < grows:
            expected[key] = entry(key, revision)
            found.put(expected[key])
        low, high, limit = f"{random.randrange(60):03d}", f"{random.randrange(60):03d}", random.randrange(9)
        wanted = [expected[each] for each in sorted(expected) if low <= each < high]
        assert found.between(low, high) == wanted
        assert found.between(low, high, limit) == (wanted[:limit] if limit else wanted)
        assert found.before(low) == sum(each < low for each in expected)
    assert found.between("", "~") == [expected[each] for each in sorted(expected)]


def test_what_is_emptied_is_as_new() -> None:
    found = Shelf()
    for _ in range(2):
        for number in range(3000):
            found.put(entry(f"{number:04d}"))
        assert found.before("~") == 3000
        for number in range(3000):
            found.remove(f"{number:04d}")
        assert found.between("", "~") == []
        assert found.before("~") == 0
