"""Entries in the order of their keys, so that all under a prefix can be had at once.

They stand in runs of some hundred, and what is asked for is a join of runs, which touches every entry once. To look a
hundred thousand keys up one by one took 20 to 60 ms, for as long as which nobody else was served.

Invariants: no run is empty or longer than ``LONGEST``; ``_lasts`` holds the last key of each.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

from shim.store.entry import Entry

LONGEST = 1024  # entries: what is put in between moves as many pointers at most
_KEY = attrgetter("key")


class Shelf:
    """A sorted list of entries, one for each key."""

    __slots__ = ("_lasts", "_runs")

    def __init__(self) -> None:
        self._runs: list[list[Entry]] = []
        self._lasts: list[str] = []

    def put(self, entry: Entry) -> None:
        """Keep it, in the place of another one with its key."""
        key, runs, lasts = entry.key, self._runs, self._lasts
        number = bisect_left(lasts, key)
        if number == len(runs):  # behind all others, as they come when they are loaded
            if not runs or len(runs[-1]) == LONGEST:
                runs.append([entry])
                lasts.append(key)
            else:
                runs[-1].append(entry)
                lasts[-1] = key
            return
        run = runs[number]
        at = bisect_left(run, key, key=_KEY)
        if run[at].key == key:
            run[at] = entry
            return
        run.insert(at, entry)
        if len(run) > LONGEST:
            half = len(run) // 2
            runs.insert(number + 1, run[half:])
            del run[half:]
            lasts.insert(number, run[-1].key)

    def remove(self, key: str) -> None:
        """Take away what must be there."""
        runs, lasts = self._runs, self._lasts
        number = bisect_left(lasts, key)
        run = runs[number]
        del run[bisect_left(run, key, key=_KEY)]
        if number and len(run) + len(runs[number - 1]) <= LONGEST // 2:  # many short ones would take long to join
            runs[number - 1 : number + 1] = [runs[number - 1] + run]
            lasts[number - 1 : number + 1] = [runs[number - 1][-1].key]
        elif run:
            lasts[number] = run[-1].key
        else:
            del runs[number], lasts[number]

    def between(self, low: str, high: str, limit: int = 0) -> list[Entry]:
        """Those from the key ``low`` to before the key ``high``, at most ``limit`` of them (0: all)."""
        runs, first = self._runs, bisect_left(self._lasts, low)
        found: list[Entry] = []
        for number in range(first, len(runs)):
            run = runs[number]
            start = bisect_left(run, low, key=_KEY) if number == first else 0
            end = len(run) if run[-1].key < high else bisect_left(run, high, key=_KEY)
            found += run[start : min(end, start + limit - len(found)) if limit else end]
            if end < len(run) or len(found) == limit != 0:
                break
        return found

    def before(self, key: str) -> int:
        """How many have keys before this one."""
        number = bisect_left(self._lasts, key)
        inside = bisect_left(self._runs[number], key, key=_KEY) if number < len(self._runs) else 0
        return sum(map(len, self._runs[:number])) + inside
