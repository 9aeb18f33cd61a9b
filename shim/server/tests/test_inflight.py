"""Places for requests: who waits, who is turned away, who never has to; and what takes too long."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from shim.api.duration import parse_duration
from shim.server import inflight
from shim.server.errors import PlainError
from shim.server.inflight import Inflight, Seats, is_long_running
from shim.server.routes import parse
from shim.server.users import MASTERS, User

ALICE, ROOT = User("alice"), User("root", (MASTERS,))


async def test_who_finds_no_place_waits_for_one_in_turn() -> None:
    seats = Seats(2)
    assert seats.take(ALICE)
    assert seats.take(ALICE)
    assert not seats.take(ALICE)
    order: list[int] = []

    async def come(number: int) -> None:
        await seats.wait()
        order.append(number)

    coming = [asyncio.create_task(come(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert (seats.used, seats.waiting) == (2, 3)
    for _ in range(5):
        seats.leave()
        await asyncio.sleep(0)
    await asyncio.gather(*coming)
    assert (order, seats.used, seats.waiting) == ([0, 1, 2], 0, 0)


async def test_who_waits_too_long_or_finds_too_many_waiting_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflight, "PATIENCE", 0.01)
    seats = Seats(1)
    assert seats.take(ALICE)
    with pytest.raises(PlainError) as refused:
        await seats.wait()
    assert (refused.value.code, refused.value.text, refused.value.retry_after) == (
        429,
        "Too many requests, please try again later.\n",
        1,
    )
    monkeypatch.setattr(inflight, "WAITING", 0)
    with pytest.raises(PlainError):
        await seats.wait()
    assert (seats.waiting, seats.rejected) == (0, 2)
    seats.leave()
    assert seats.take(ALICE)


async def test_administrators_are_never_held_up() -> None:
    seats = Seats(1)
    assert seats.take(ROOT)
    assert seats.take(ROOT)
    assert not seats.take(ALICE)
    seats.leave()
    assert not seats.take(ALICE)
    seats.leave()
    assert seats.take(ALICE)


def test_a_cancelled_wait_leaves_no_trace() -> None:
    async def story() -> None:
        seats = Seats(1)
        assert seats.take(ALICE)
        waiting = asyncio.create_task(seats.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        seats.leave()
        assert (seats.used, seats.waiting) == (0, 0)

    asyncio.run(story())


async def test_what_a_request_has_waited_is_of_its_time() -> None:
    both, info = Inflight(1, 1), parse("GET", "/api")
    http = SimpleNamespace()
    first, second = (both.take(http, ALICE, info, {}) for _ in range(2))  # type: ignore[arg-type]
    assert (first.waits, second.waits) == (False, True)
    waiting = asyncio.create_task(second.wait(http, 5.0))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    first.leave()
    assert 0 < await waiting < 5.0
    second.leave()


@pytest.mark.parametrize(
    ("method", "path", "watching", "kind"),
    [
        ("GET", "/api/v1/pods", False, "readOnly"),
        ("GET", "/api/v1/namespaces/a/pods/b", False, "readOnly"),
        ("GET", "/apis", False, "readOnly"),
        ("POST", "/api/v1/namespaces/a/pods", False, "mutating"),
        ("DELETE", "/api/v1/namespaces/a/pods", False, "mutating"),
        ("GET", "/api/v1/pods", True, ""),
        ("GET", "/api/v1/watch/pods", False, ""),
        ("POST", "/api/v1/namespaces/a/pods/b/exec", False, ""),
        ("GET", "/api/v1/namespaces/a/pods/b/log", False, ""),
    ],
)
def test_classes(method: str, path: str, watching: bool, kind: str) -> None:
    info, both = parse(method, path, watching), Inflight(1, 1)
    assert ("" if is_long_running(info) else next(n for n, s in both.classes.items() if s is both.of(info))) == kind


async def test_a_request_has_the_time_it_asks_for(api) -> None:
    late = await api.get("/api/v1/namespaces/{ns}/configmaps?timeout=50ms&resourceVersion=99999999")
    assert (late.status, late.json["reason"]) == (504, "Timeout")
    assert late.message == "Timeout: request did not complete within the allotted timeout"
    wrong = await api.get("/api/v1/namespaces/{ns}/configmaps?timeout=soon")
    assert (wrong.status, wrong.message) == (
        400,
        'invalid timeout specified in the request URL - time: invalid duration "soon"',
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400.0), ("1.5s", 1.5), ("-10ms", -0.01), ("0", 0.0), ("+2m", 120.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5", 'missing unit in duration "5"'),
        ("5y", 'unknown unit "y" in duration "5y"'),
        ("", 'invalid duration ""'),
        ("s", 'invalid duration "s"'),
        ("1s2", 'missing unit in duration "1s2"'),
    ],
)
def test_what_is_no_duration(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"time: {why}"):
        parse_duration(text)
