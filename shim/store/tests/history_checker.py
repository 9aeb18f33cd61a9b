"""Does what clients of a store were told fit together? A log of everything, and the judgement on it.

The store's revisions are the order that everything has to fit:

- A watcher sees changes in the order of revisions, each once; and each says what it replaced, so that one which was not
  shown is noticed at the next change of its key, and the last one by what is there at the end.
- What was acknowledged was shown, as it was acknowledged.
- What is read is what was there at the revision that the answer names, and that is none before those which had been
  acknowledged when the question was asked: single keys are linearizable.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shim.store.contract import Change

Key, Value = str, bytes


class Broken(AssertionError):
    """The store has not kept its word."""


@dataclass(frozen=True, slots=True)
class Told:
    """An acknowledged write: the key had this value (None: no more) at this revision, or for a deletion, by then."""

    key: Key
    value: Value | None
    revision: int


@dataclass(frozen=True, slots=True)
class Read:
    """``found`` at ``revision``; when it was asked for, ``known`` was the newest revision anybody had been told of."""

    key: Key
    found: tuple[Value, int] | None
    revision: int
    known: int


@dataclass
class History:
    """What happened, to be judged at the end; changes are judged as they come."""

    told: list[Told] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    shown: list[Change] = field(default_factory=list)
    now: dict[Key, tuple[Value, int]] = field(default_factory=dict)
    """What is there after the last change that was shown."""

    known: int = 0
    """The newest revision that anybody was told of."""

    def tell(self, told: Told) -> None:
        """A writer was told this."""
        self.told.append(told)
        self.known = max(self.known, told.revision)

    def answer(self, read: Read) -> None:
        """A reader was told this."""
        self.reads.append(read)
        self.known = max(self.known, read.revision)

    def show(self, change: Change) -> None:
        """A watcher was shown this. Raises Broken."""
        last = self.shown[-1].revision if self.shown else 0
        if change.revision < last:
            raise Broken(f"{change} was shown after revision {last}")
        before = self.now.get(change.key)
        if before is not None and change.revision <= before[1]:
            raise Broken(f"{change} was shown twice")
        replaced = (change.previous.value, change.previous.revision) if change.previous else None
        if replaced != before:
            raise Broken(f"{change} replaced {replaced}, but what was shown before is {before}")
        self.shown.append(change)
        if change.value is None:
            del self.now[change.key]
        else:
            self.now[change.key] = change.value, change.revision

    def judge(self, there: dict[Key, tuple[Value, int]]) -> None:
        """``there`` is what the store has now that everything was shown. Raises Broken."""
        if there != self.now:
            raise Broken(f"there is {there}, but what was shown ends with {self.now}")
        by_key: dict[Key, list[tuple[int, Value | None]]] = {}
        for change in self.shown:
            by_key.setdefault(change.key, []).append((change.revision, change.value))
        for told in self.told:
            versions = by_key.get(told.key, [])
            if told.value is not None and (told.revision, told.value) not in versions:
                raise Broken(f"{told} was acknowledged but never shown")
            if told.value is None and _at(versions, told.revision) is not None:
                raise Broken(f"{told} was acknowledged, but {_at(versions, told.revision)} was there")
        for read in self.reads:
            if read.revision < read.known:
                raise Broken(f"{read} is older than what had been acknowledged")
            if read.found != _at(by_key.get(read.key, []), read.revision):
                raise Broken(f"{read}, but shown were {by_key.get(read.key)}")


def _at(versions: list[tuple[int, Value | None]], revision: int) -> tuple[Value, int] | None:
    """What a key was at a revision."""
    last = next(((value, at) for at, value in reversed(versions) if at <= revision), None)
    return None if last is None or last[0] is None else (last[0], last[1])
