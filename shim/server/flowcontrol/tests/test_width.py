"""How many seats, for how long; and when to come back."""

from __future__ import annotations

import pytest

from shim.server.flowcontrol.drops import Drops
from shim.server.flowcontrol.width import Watchers, most_seats, of_list, of_write
from shim.server.routes import parse


@pytest.mark.parametrize(
    ("objects", "average", "most", "limit", "single", "seats"),
    [
        (0, 0, 0, 0, False, 1),
        (10, 1000, 0, 0, False, 1),
        (500, 1000, 0, 0, False, 5),
        (501, 1000, 0, 0, False, 6),
        (5000, 1000, 0, 200, False, 2),
        (100_000, 5000, 0, 0, False, 10),
        (100_000, 5000, 3, 0, False, 3),
        (100_000, 5000, 0, 0, True, 1),
    ],
)
def test_lists(objects: int, average: int, most: int, limit: int, single: bool, seats: int) -> None:
    assert of_list(objects, average, most, limit, single=single).seats == seats


@pytest.mark.parametrize(
    ("watchers", "most", "seats", "latency"),
    [(0, 0, 1, 0), (9, 0, 1, 0), (10, 0, 1, 0.005), (55, 0, 6, 0.005), (200, 0, 10, 0.01), (200, 4, 4, 0.025)],
)
def test_writes(watchers: int, most: int, seats: int, latency: float) -> None:
    work = of_write(watchers, most)
    assert (work.initial, work.seats, work.latency) == (1, seats, pytest.approx(latency))


def test_work_is_as_much_on_fewer_seats() -> None:
    work = of_write(100, 0)
    narrow = work.within(2)
    assert (narrow.seats, narrow.total) == (2, pytest.approx(work.total))
    assert work.within(50) is work


@pytest.mark.parametrize(("limit", "hand", "most"), [(49, 6, 8), (245, 6, 37), (25, 4, 4), (3, 6, 1), (100, 1, 15)])
def test_no_request_takes_a_whole_level(limit: int, hand: int, most: int) -> None:
    assert most_seats(limit, hand) == most


def test_a_write_is_told_to_who_watches_its_kind_its_namespace_or_itself() -> None:
    watchers = Watchers()
    watched = [
        (parse("GET", "/api/v1/pods", True), ""),
        (parse("GET", "/api/v1/namespaces/a/pods", True), ""),
        (parse("GET", "/api/v1/namespaces/a/pods", True), "x"),
        (parse("GET", "/api/v1/namespaces/b/pods", True), ""),
    ]
    for info, name in watched:
        watchers.begin(info, name)
    assert watchers.of(parse("PUT", "/api/v1/namespaces/a/pods/x")) == 3
    assert watchers.of(parse("PUT", "/api/v1/namespaces/a/pods/y")) == 2
    assert watchers.of(parse("POST", "/api/v1/namespaces/c/pods")) == 1
    assert watchers.of(parse("PUT", "/api/v1/nodes/n")) == 0
    for info, name in watched:
        watchers.end(info, name)
    assert watchers.of(parse("PUT", "/api/v1/namespaces/a/pods/x")) == 0


def test_tokens_are_told_to_nobody() -> None:
    watchers = Watchers()
    watchers.begin(parse("GET", "/api/v1/serviceaccounts", True), "")
    assert watchers.of(parse("POST", "/api/v1/namespaces/a/serviceaccounts/x/token")) == 0
    assert watchers.of(parse("POST", "/api/v1/namespaces/a/serviceaccounts")) == 1


def test_who_is_turned_away_comes_back_later_the_more_there_are() -> None:
    drops = Drops()
    assert [drops.add(1000.0) for _ in range(5)] == [1] * 5
    assert [drops.add(1001.0) for _ in range(10)] == [2] * 10
    assert drops.add(1002.0) == 2  # it has only just been raised
    assert drops.add(1003.0) == 4
    assert drops.add(1030.0) == 3
    assert drops.add(1060.0) == 2
    for second in range(2000, 2100):
        for _ in range(200):
            wait = drops.add(float(second))
    assert wait == 32
