"""Who is next? Fair queuing of the requests of one priority level, by a clock that says how far everyone should be.

Every queue is owed the same share of the level's seats. ``reached`` is how many seat-seconds a queue that always has
something to do has been given by now, and moves as fast as seats divide by queues that have something to do. A queue's
``start`` is the reading at which its next request begins if all were fair; the request that would be through first is
taken, which is what Nagle's and Demers' fair queuing does with packets. How long a request takes is known only when it
is over: until then 3 ms are believed, and put right afterwards.

A flow's requests do not wait in a queue of its own, for there may be any number of flows, but in the shortest of a
few (its hand) that are dealt by its name. One that floods fills its hand; another's hand almost surely has a card that
is not in it.

Nothing here reads a clock or waits: who calls says when it is, and is told by :meth:`Ticket.call` whose turn it is.
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/1040-priority-and-fairness
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from shim.server.flowcontrol.dwell import Dwell
from shim.server.flowcontrol.width import SERVICE, Work

NOT_YET = -1.0


class Refused(Exception):
    """There is neither a seat nor a place to wait; the reason is as upstream's metric names it."""


class Ticket:
    """One request, from its arrival until its seats are free again."""

    began = ended = NOT_YET
    queue: Queue[Any] | None = None
    owed = 0.0
    """What the clock of its level had reached when it came: nothing is owed for the time before."""

    def __init__(self, work: Work, arrived: float) -> None:
        self.work, self.arrived = work, arrived

    def call(self) -> bool:
        """It has its seats; False where nobody is there any more to take them."""
        return True

    def passed_over(self) -> None:
        """It is next, and too wide for the seats that are free."""


T = TypeVar("T", bound=Ticket)


class Queue(Generic[T]):
    """Requests of some flows, served first come, first served."""

    __slots__ = ("executing", "index", "seats", "start", "waiting", "work")

    def __init__(self, index: int) -> None:
        self.index = index
        self.start = 0.0
        self.waiting: OrderedDict[T, None] = OrderedDict()
        self.work = 0.0  # of those who wait
        self.executing = self.seats = 0

    @property
    def first(self) -> T:
        return next(iter(self.waiting))

    @property
    def finish(self) -> float:
        """When the first who waits would be through."""
        return self.start + self.first.work.total

    @property
    def idle(self) -> bool:
        return not self.executing and not self.waiting

    def catch_up(self) -> None:
        """Nobody begins before they came: a queue that is seldom used would else save up a claim to everything."""
        if self.waiting:
            self.start = max(self.start, self.first.owed)


class Dispatch(NamedTuple):
    """What the clock and the queues with waiting requests read when a request last left its queue.

    ``discounted``: less what those of the queue that are executing are believed to take.
    """

    reached: float
    start: float
    first_start: float
    last_start: float
    first_discounted: float
    last_discounted: float


class Queues(Generic[T]):
    """The seats of one level, those in them, and those who wait. ``exempt``: there is always another seat."""

    def __init__(self, now: float, *, exempt: bool = False) -> None:
        self.exempt = exempt
        self.limit = self.hand = self.length = 0
        self.queues: list[Queue[T]] = []
        self.executing: set[T] = set()
        self.lingering: set[T] = set()
        """Answered, and their seats not free yet."""
        self.seats = self.waiting = self.seats_waiting = 0
        self.rejected = self.cancelled = 0
        self.reached = 0.0
        self.dwell = Dwell((1, 1, 0, 0), now)
        """How long so many were executing, on so many seats, and so many waiting, for so many seats."""
        self.last: Dispatch | None = None
        self._backlog: dict[Queue[T], None] = {}  # those in which somebody waits
        self._active = 0  # queues with something to do
        self._robin = -1  # index of the queue that was served last
        self._arrivals = 0
        self._at = now

    @property
    def idle(self) -> bool:
        return not self.executing and not self.waiting

    @property
    def free(self) -> bool:
        """Whether there is a seat that nobody waits for."""
        return self.exempt or (not self.waiting and self.seats < self.limit)

    def all_queues(self) -> list[Queue[T]]:
        """Those in use, and those that are drained because there are to be fewer."""
        return self.queues + [queue for queue in self._backlog if queue not in self.queues]

    def waiting_in_order(self) -> Iterable[T]:
        return (ticket for queue in self._backlog for ticket in queue.waiting)

    def arrange(self, queues: int, hand: int, length: int) -> None:
        """So many queues of this length, a hand of them for every flow; 0: who finds no seat is refused."""
        have = len(self.queues)
        self.queues = self.queues[:queues] + [Queue(index) for index in range(have, queues)]
        self.hand, self.length = hand, length

    def resize(self, seats: int, now: float) -> None:
        """So many seats from now on."""
        self._advance(now)
        self.limit = seats
        self._dispatch(now)

    # --- a request's way ----------------------------------------------------------------------------------------------

    def enter(self, ticket: T, hand: Sequence[int], now: float) -> None:
        """Take seats, or wait for them: then ``began`` stays :data:`NOT_YET`. Raises Refused."""
        if not self.queues:
            if self._active:
                self._advance(now)
            if not (self.exempt or self._fits(ticket.work.seats)):
                self.rejected += 1
                raise Refused("concurrency-limit")
            self._seat(ticket, now)
            return
        self._advance(now)
        if not self.waiting and self.seats < self.limit and self._fits(ticket.work.seats):
            ticket.queue = queue = self._shortest(hand)
            # what waiting and being called at once would come to
            queue.start = self.reached if queue.idle else max(queue.start, self.reached)
            start = queue.start
            ahead = start - queue.seats * SERVICE
            self.last = Dispatch(self.reached, start, start, start, ahead, ahead)
            self._active += queue.idle
            self._robin = queue.index
            self._seat(ticket, now)
        else:
            queue = self._shortest(hand)
            if self.seats >= self.limit and len(queue.waiting) >= self.length:
                self.rejected += 1
                raise Refused("queue-full")
            self._wait(ticket, queue)
            self._note(now)
            self._dispatch(now)

    def leave(self, ticket: T, now: float) -> float:
        """A request is answered. Returns after how many seconds its seats are free: to :meth:`release` them then."""
        ticket.ended = now
        self.executing.discard(ticket)
        if self._active:
            self._advance(now)
        if (queue := ticket.queue) is not None:
            queue.executing -= 1
            queue.start -= ticket.work.initial * (SERVICE - (now - ticket.began))
            queue.catch_up()
            self._active -= queue.idle
        if ticket.work.latency > 0:
            self.lingering.add(ticket)
            self._note(now)
            return ticket.work.latency
        self._free(ticket, now)
        return 0.0

    def release(self, ticket: T, now: float) -> None:
        """The seats of a request that had lingered on them are free."""
        self._advance(now)
        self.lingering.discard(ticket)
        self._free(ticket, now)

    def withdraw(self, ticket: T, now: float) -> None:
        """A request does not wait any longer."""
        self._advance(now)
        queue = ticket.queue
        if queue is not None and ticket in queue.waiting:
            self._take_out(ticket, queue)
            self._active -= queue.idle
            self.rejected += 1
            self.cancelled += 1
            queue.catch_up()
            self._note(now)
        self._dispatch(now)  # it may have been a wide one that everybody waited for

    # --- what these have in common ------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Time has passed, with everything as it is."""
        if self._active:
            wanted = self.seats + self.seats_waiting
            self.reached += min(wanted, self.limit) / self._active * (now - self._at)
        self._at = now

    def _note(self, now: float) -> None:
        self.dwell.move((len(self.executing), self.seats, self.waiting, self.seats_waiting), now)

    def _fits(self, seats: int) -> bool:
        if seats > self.limit:
            return not self.executing  # wider than the level: alone
        return self.seats + seats <= self.limit

    def _shortest(self, hand: Sequence[int]) -> Queue[T]:
        """The queue of a hand with the least work; where several have as little, each in its turn."""
        turn = self._arrivals % len(hand)
        self._arrivals += 1
        if not self.waiting:
            return self.queues[hand[turn]]
        return min((self.queues[card] for card in (*hand[turn:], *hand[:turn])), key=lambda queue: queue.work)

    def _wait(self, ticket: T, queue: Queue[T]) -> None:
        if queue.idle:
            queue.start = self.reached
            self._active += 1
        ticket.queue, ticket.owed = queue, self.reached
        queue.waiting[ticket] = None
        queue.work += ticket.work.total
        queue.catch_up()
        self._backlog[queue] = None
        self.waiting += 1
        self.seats_waiting += ticket.work.seats

    def _take_out(self, ticket: T, queue: Queue[T]) -> None:
        del queue.waiting[ticket]
        queue.work -= ticket.work.total
        if not queue.waiting:
            queue.work = 0.0
            del self._backlog[queue]
        self.waiting -= 1
        self.seats_waiting -= ticket.work.seats

    def _seat(self, ticket: T, now: float) -> None:
        ticket.began = now
        self.executing.add(ticket)
        self.seats += ticket.work.seats
        if (queue := ticket.queue) is not None:
            queue.executing += 1
            queue.seats += ticket.work.seats
            queue.start += ticket.work.total
        self._note(now)

    def _free(self, ticket: T, now: float) -> None:
        self.seats -= ticket.work.seats
        if ticket.queue is not None:
            ticket.queue.seats -= ticket.work.seats
        self._note(now)
        if self.waiting:
            self._dispatch(now)

    def _dispatch(self, now: float) -> None:
        """Give seats away for as long as there are some, and somebody waits who fits."""
        while self.waiting and self.seats < self.limit:
            queue = self._fairest()
            ticket = queue.first
            if not self._fits(ticket.work.seats):
                ticket.passed_over()
                return  # others would fit, and it would wait for ever
            self._remember(queue)
            self._robin = queue.index
            self._take_out(ticket, queue)
            ticket.work = ticket.work.within(self.limit)
            if ticket.call():
                self._seat(ticket, now)
            else:
                self._active -= queue.idle
                self._note(now)
            queue.catch_up()

    def _fairest(self) -> Queue[T]:
        """The queue whose first request would be through first; of several the next after the one served last."""
        number, after = len(self.queues) or 1, self._robin + 1
        return min(self._backlog, key=lambda queue: (queue.finish, (queue.index - after) % number))

    def _remember(self, queue: Queue[T]) -> None:
        starts = [each.start for each in self._backlog]
        discounted = [each.start - each.seats * SERVICE for each in self._backlog]
        bounds = min(starts), max(starts), min(discounted), max(discounted)
        self.last = Dispatch(self.reached, queue.start, *bounds)


def deal(entropy: int, deck: int, hand: int) -> tuple[int, ...]:
    """So many different cards of a deck, by a number that decides which: shuffle sharding.

    Each is a position among the cards that are left, which is then moved past those that were dealt before.
    """
    dealt: list[int] = []
    positions: list[int] = []
    for number in range(hand):
        entropy, position = divmod(entropy, deck - number)
        card = position
        for earlier in reversed(positions):
            card += card >= earlier
        positions.append(position)
        dealt.append(card)
    return tuple(dealt)
