"""Schedules: when they are due, on the clocks of all places."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest

from shim.api.meta import parse_time
from shim.controllers.cron_schedule import Every, Schedule, parse

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def following(text: str, after: str, zone: datetime.tzinfo = datetime.UTC) -> str:
    moment = parse(text, zone).next(parse_time(after))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else ""


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("*/15 * * * *", "2026-01-01T00:16:00Z", "2026-01-01T00:30:00Z"),
        ("5,10 3 * * *", "2026-01-01T03:05:00Z", "2026-01-01T03:10:00Z"),
        ("0 9-17/4 * * mon-fri", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),  # either day
        ("0 0 */3 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),  # a step restricts, too
        ("0 0 */1 * 5", "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z"),
        ("0 0 3,* * 5", "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z"),
        ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ("0 0 31 2 *", "2026-01-01T00:00:00Z", ""),
    ],
)
def test_next(text: str, after: str, due: str) -> None:
    assert following(text, after) == due


def test_time_zones() -> None:
    assert following("0 9 * * *", "2026-01-01T00:00:00Z", BERLIN) == "2026-01-01T08:00:00Z"
    assert following("0 9 * * *", "2026-07-01T00:00:00Z", BERLIN) == "2026-07-01T07:00:00Z"


def test_a_time_that_summer_time_skips_is_not_due() -> None:
    assert following("30 2 * * *", "2026-03-28T12:00:00Z", BERLIN) == "2026-03-30T00:30:00Z"


def test_a_time_that_comes_twice_is_due_twice() -> None:
    first, second = "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"
    assert following("30 2 * * *", "2026-10-24T12:00:00Z", BERLIN) == first
    assert following("30 2 * * *", first, BERLIN) == second
    assert following("30 2 * * *", second, BERLIN) == "2026-10-26T01:30:00Z"


def test_the_last_time_in_between() -> None:
    schedule = parse("*/10 * * * *")
    assert isinstance(schedule, Schedule)
    start, end = parse_time("2026-01-01T00:00:00Z"), parse_time("2026-01-03T05:59:30Z")
    assert schedule.latest(start, end) == parse_time("2026-01-03T05:50:00Z")
    assert schedule.latest(start, start + datetime.timedelta(minutes=9)) is None


def test_every() -> None:
    schedule = parse("@every 1h30m")
    assert schedule == Every(5400)
    start = parse_time("2026-01-01T00:00:00Z")
    assert schedule.latest(start, start + datetime.timedelta(hours=4)) == start + datetime.timedelta(hours=3)


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "x * * * *", "@often"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
