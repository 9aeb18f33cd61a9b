"""When is ``*/5 9-17 * * mon-fri`` due? Pure.

A schedule is asked in its own time zone, by the clock on the wall: a time that a change to summer time skips does not
exist and is not due; one that comes twice is due twice.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SHORTHAND = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
HORIZON = 5 * 366  # days to search: 29 February comes at most eight years apart, but upstream gives up after five


@dataclass(frozen=True, slots=True)
class Every:
    """``@every 90m``: so long after the last time."""

    seconds: float

    def next(self, after: datetime.datetime) -> datetime.datetime:
        """The first time after this one."""
        return after.replace(microsecond=0) + datetime.timedelta(seconds=self.seconds)

    def latest(self, after: datetime.datetime, until: datetime.datetime) -> datetime.datetime | None:
        """The last time in between, the end included."""
        count = int((until - after.replace(microsecond=0)).total_seconds() // self.seconds)
        step = datetime.timedelta(seconds=self.seconds)
        return after.replace(microsecond=0) + count * step if count > 0 else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """The five fields as sets; whether the days of month and of week are both given decides how they combine."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: datetime.tzinfo

    def next(self, after: datetime.datetime) -> datetime.datetime | None:
        """The first time after this one; None if it never comes."""
        today = after.astimezone(self.zone).date()
        for offset in range(HORIZON):
            for moment in self._on(today + datetime.timedelta(days=offset)):
                if moment > after:
                    return moment
        return None

    def latest(self, after: datetime.datetime, until: datetime.datetime) -> datetime.datetime | None:
        """The last time in between, the end included."""
        first, last = after.astimezone(self.zone).date(), until.astimezone(self.zone).date()
        for offset in range(min((last - first).days, HORIZON) + 1):
            for moment in reversed(list(self._on(last - datetime.timedelta(days=offset)))):
                if moment <= until:
                    return moment if moment > after else None
        return None

    def _on(self, day: datetime.date) -> Iterator[datetime.datetime]:
        """Every time it is due on this day, in UTC."""
        if day.month not in self.months or not self._matches(day):
            return
        minutes = sorted(self.minutes)
        for hour in sorted(self.hours):
            moments: dict[datetime.datetime, None] = {}  # those of the first time before those of the second
            for fold in (0, 1):
                for minute in minutes:
                    local = datetime.datetime.combine(day, datetime.time(hour, minute, fold=fold), self.zone)
                    moment = local.astimezone(datetime.UTC)
                    if moment.astimezone(self.zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                        moments[moment] = None
            yield from moments

    def _matches(self, day: datetime.date) -> bool:
        of_month, of_week = day.day in self.days, (day.isoweekday() % 7) in self.weekdays
        return (of_month or of_week) if self.either_day else (of_month and of_week)


def parse(text: str, zone: datetime.tzinfo = datetime.UTC) -> Schedule | Every:
    """Read a schedule. Raises ValueError with what is wrong."""
    text = text.strip()
    if text.startswith("@every "):
        return Every(_duration(text.removeprefix("@every ")))
    if text.startswith("@"):
        if text not in _SHORTHAND:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _SHORTHAND[text]
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    return Schedule(
        minutes=_field(fields[0], 0, 59, {}),
        hours=_field(fields[1], 0, 23, {}),
        days=_field(fields[2], 1, 31, {}),
        months=_field(fields[3], 1, 12, _MONTHS),
        weekdays=_field(fields[4], 0, 6, _DAYS),
        either_day=not (_is_any(fields[2]) or _is_any(fields[4])),
        zone=zone,
    )


def _is_any(text: str) -> bool:
    """Whether the field does not restrict anything: ``*``, but not ``*/2``."""
    return any(part in ("*", "?", "*/1", "?/1") for part in text.split(","))


def _field(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        bounds, slash, step_text = part.partition("/")
        first_text, dash, last_text = bounds.partition("-")
        if first_text in ("*", "?") and not dash:
            first, last = low, high
        else:
            first = _number(first_text, names)
            last = _number(last_text, names) if dash else (high if slash else first)
        step = _number(step_text, {}) if slash else 1
        if first < low:
            raise ValueError(f"beginning of range ({first}) below minimum ({low}): {part}")
        if last > high:
            raise ValueError(f"end of range ({last}) above maximum ({high}): {part}")
        if first > last:
            raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {part}")
        if step == 0:
            raise ValueError(f"step of range should be a positive number: {part}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdigit():
        raise ValueError(f"failed to parse int from {text}")
    return int(text)


def _duration(text: str) -> float:
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"failed to parse duration @every {text}")
    return max(sum(float(number) * _UNITS[unit] for number, unit in parts), 1.0)
