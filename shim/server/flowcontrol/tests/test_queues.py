"""Who is next: seats, queues, and that nobody drowns. Time is a number here, and passes when told."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest

from shim.server.flowcontrol.queues import Queues, Refused, Ticket, deal
from shim.server.flowcontrol.width import SERVICE, Work


class Guest(Ticket):
    """A request with a name, that notes when it is called."""

    def __init__(self, name: str = "", *, work: Work | None = None, there: bool = True) -> None:
        super().__init__(work or Work(1), 0.0)
        self.name, self.there, self.called = name, there, False

    def call(self) -> bool:
        self.called = self.there
        return self.there


def _queues(seats: int, queues: int = 8, hand: int = 2, length: int = 50) -> Queues[Guest]:
    made: Queues[Guest] = Queues(0.0)
    made.arrange(queues, hand, length)
    made.resize(seats, 0.0)
    return made


def _come(queues: Queues[Guest], guest: Guest, *hand: int, at: float = 0.0) -> Guest:
    queues.enter(guest, hand or (0,), at)
    return guest


def test_who_finds_a_seat_takes_it_and_who_does_not_waits_in_turn() -> None:
    queues = _queues(2)
    first, second, third, fourth = (_come(queues, Guest(), 0) for _ in range(4))
    assert [guest.began >= 0 for guest in (first, second, third, fourth)] == [True, True, False, False]
    assert (queues.seats, queues.waiting) == (2, 2)
    queues.leave(first, 1.0)
    assert (third.called, third.began, fourth.called) == (True, 1.0, False)
    for guest in (second, third, fourth):
        queues.leave(guest, 2.0)
    assert queues.idle
    assert queues.seats == 0
    assert [queue.idle for queue in queues.queues] == [True] * 8


def test_a_full_queue_takes_nobody_and_another_hand_still_waits() -> None:
    queues = _queues(1, length=2)
    for _ in range(3):
        _come(queues, Guest(), 0)
    with pytest.raises(Refused, match="queue-full"):
        _come(queues, Guest(), 0)
    assert not _come(queues, Guest(), 1).called
    assert (queues.waiting, queues.rejected) == (3, 1)


def test_without_queues_who_finds_no_seat_is_refused() -> None:
    queues = _queues(1, queues=0)
    guest = _come(queues, Guest())
    with pytest.raises(Refused, match="concurrency-limit"):
        _come(queues, Guest())
    queues.leave(guest, 1.0)
    _come(queues, Guest(), at=1.0)


def test_who_is_exempt_always_finds_a_seat() -> None:
    queues: Queues[Guest] = Queues(0.0, exempt=True)
    guests = [_come(queues, Guest()) for _ in range(100)]
    assert len(queues.executing) == 100
    for guest in guests:
        queues.leave(guest, 1.0)
    assert (queues.idle, queues.seats) == (True, 0)


def test_a_flood_of_one_flow_leaves_another_its_half() -> None:
    """Two flows share a level; one asks a hundred times at once, the other one after the other."""
    queues = _queues(4)
    done: Counter[str] = Counter()
    ends: list[tuple[float, int, Guest]] = []
    guests = [_come(queues, Guest("flood"), 0, 1) for _ in range(90)]
    polite = [_come(queues, Guest("polite"), 2, 3) for _ in range(2)]
    now, number = 0.0, 0
    started: set[Guest] = set()
    while done["polite"] < 40:
        for guest in (*guests, *polite):
            if guest.began >= 0 and guest not in started:
                started.add(guest)
                number += 1
                heapq.heappush(ends, (guest.began + 0.01, number, guest))
        now, _, guest = heapq.heappop(ends)
        queues.leave(guest, now)
        done[guest.name] += 1
        again = Guest(guest.name)
        if guest.name == "flood":
            guests.append(_come(queues, again, 0, 1, at=now))
        else:
            polite.append(_come(queues, again, 2, 3, at=now))
    # the flood fills two queues, the other flow one after the other one of its two: a third, and never less
    assert 40 <= done["flood"] <= 100


def test_what_a_wide_request_takes_is_paid_for_by_its_own_queue() -> None:
    queues = _queues(4)
    holders = [_come(queues, Guest(), 7) for _ in range(4)]
    wide = [_come(queues, Guest("wide", work=Work(4)), 0) for _ in range(3)]
    narrow = [_come(queues, Guest("narrow"), 1) for _ in range(4)]
    for guest in holders:
        queues.leave(guest, 0.0)
    assert [guest.called for guest in narrow] == [True] * 3 + [False]  # 4 x 3 ms would be as much as a wide one
    assert [guest.called for guest in wide] == [False] * 3
    for guest in narrow[:3]:
        queues.leave(guest, SERVICE)
    assert [guest.called for guest in wide] == [True, False, False]


def test_who_is_wider_than_the_level_is_alone() -> None:
    queues = _queues(2)
    first = _come(queues, Guest(), 0)
    giant = _come(queues, Guest(work=Work(5)), 1)
    later = _come(queues, Guest(), 1)
    assert not giant.called
    assert not later.called  # though there is a seat: the giant would wait for ever
    queues.leave(first, 1.0)
    assert giant.began == 1.0
    assert not later.called
    queues.leave(giant, 2.0)
    assert later.called


def test_seats_are_kept_for_what_a_write_leads_to() -> None:
    queues = _queues(3)
    write = _come(queues, Guest(work=Work(1, 3, 0.05)), 0)
    other = _come(queues, Guest(), 1)
    assert queues.leave(write, 1.0) == 0.05
    assert (len(queues.executing), queues.seats, other.called) == (0, 3, False)
    queues.release(write, 1.05)
    assert other.began == 1.05


def test_who_does_not_wait_any_longer_leaves_their_place() -> None:
    queues = _queues(1, length=1)
    holder = _come(queues, Guest(), 0)
    impatient = _come(queues, Guest(), 0)
    queues.withdraw(impatient, 1.0)
    assert (queues.waiting, queues.seats_waiting, queues.cancelled) == (0, 0, 1)
    next_one = _come(queues, Guest(), 0, at=1.0)
    queues.leave(holder, 2.0)
    assert next_one.called
    assert not impatient.called


def test_a_seat_is_not_given_to_who_is_gone() -> None:
    queues = _queues(1)
    holder = _come(queues, Guest(), 0)
    _come(queues, Guest(there=False), 0)
    third = _come(queues, Guest(), 1)
    queues.leave(holder, 1.0)
    assert third.called
    queues.leave(third, 2.0)
    assert (queues.idle, queues.seats) == (True, 0)


def test_more_seats_are_given_away_at_once() -> None:
    queues = _queues(1)
    guests = [_come(queues, Guest(), 0) for _ in range(4)]
    queues.resize(3, 1.0)
    assert [guest.began >= 0 for guest in guests] == [True, True, True, False]
    queues.resize(0, 2.0)
    for guest in guests[:3]:
        queues.leave(guest, 3.0)
    assert not guests[3].called


def test_queues_that_there_are_too_many_of_are_drained() -> None:
    queues = _queues(1)
    holder = _come(queues, Guest(), 7)
    waiting = _come(queues, Guest(), 7)
    queues.arrange(2, 1, 50)
    assert len(queues.all_queues()) == 3
    queues.leave(holder, 1.0)
    assert waiting.called
    queues.leave(waiting, 2.0)
    assert (queues.idle, len(queues.all_queues())) == (True, 2)


def test_the_shortest_queue_of_a_hand_is_taken() -> None:
    queues = _queues(1)
    _come(queues, Guest(), 7)
    for _ in range(4):
        _come(queues, Guest(), 0)
    hand = deal(12345, 8, 3)
    for _ in range(6):
        _come(queues, Guest(), *hand)
    assert sorted(len(queues.queues[card].waiting) for card in hand if card != 0)[-1] <= 3


def test_the_clock_moves_as_fast_as_seats_divide_by_queues() -> None:
    queues = _queues(4)
    for _ in range(6):
        _come(queues, Guest(), 0)
    _come(queues, Guest(), 1, at=1.0)  # one queue had four seats for a second
    assert queues.reached == pytest.approx(4.0)
    _come(queues, Guest(), 1, at=2.0)  # two queues had them
    assert queues.reached == pytest.approx(6.0)


def test_an_idle_queue_saves_nothing_up() -> None:
    queues = _queues(1, hand=1)
    busy = _come(queues, Guest(), 0)
    waiting = [_come(queues, Guest("busy"), 0) for _ in range(5)]
    late = [_come(queues, Guest("late"), 1, at=10.0) for _ in range(5)]
    order = []
    now, guest = 10.0, busy
    for _ in range(6):
        now += SERVICE
        queues.leave(guest, now)
        guest = next(each for each in (*waiting, *late) if each.began == now)
        order.append(guest.name)
    assert sorted(order[2:]) == ["busy", "busy", "late", "late"]  # not all of the late ones first
