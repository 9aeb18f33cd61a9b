"""The priority levels and FlowSchemas in force: made from their objects, asked for the flow of a request.

What a request needs to know of its flow is found once for all requests like it, and forgotten when an object changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shim.api.meta import Object
from shim.api.timing import Histogram, Histograms
from shim.resources.bootstrap import flow as bootstrap
from shim.server.connection import Classified
from shim.server.flowcontrol import limits, width
from shim.server.flowcontrol.classify import FlowSchema, hash_of, in_order, schema_of
from shim.server.flowcontrol.drops import Drops
from shim.server.flowcontrol.dwell import Dwell, Moments, sample
from shim.server.flowcontrol.queues import Queues, deal
from shim.server.routes import KEPT_UP_TO, RequestInfo
from shim.server.users import User

if TYPE_CHECKING:
    from shim.server.flowcontrol.gate import Seat

MANDATORY = ("exempt", "catch-all")
"""Levels and schemas that are always there, with an object or without."""
REMEMBERED = 20_000  # answers to: which flow is this?
_READING = ("get", "list", "watch")
_SECONDS = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
_LENGTHS = (0, 10, 25, 50, 100, 250, 500, 1000)
_OF_SEATS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_OF_REQUESTS = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1)
_OF_KINDS = (0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_OF_DEMAND = (0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.7, 2, 2.8, 4, 6)
_WATCHERS = (0, 1, 10, 100, 1000, 10000)


class Tally:
    """What the requests of one schema have come to at one level."""

    __slots__ = (
        *("called", "came", "delayed", "lengths", "passed_over", "queued"),
        *("refused", "regular", "waited", "watchers", "watches", "wide"),
    )

    def __init__(self, *, queued: bool) -> None:
        self.queued = queued
        """Whether its level has queues."""
        self.came = self.delayed = self.called = self.passed_over = 0
        """Requests in all; those that had to wait, and were called then; how often one was too wide to be called."""
        self.wide: Counter[int] = Counter()
        """Those of more than one seat, by how many."""
        self.refused: Counter[str] = Counter()
        """By reason."""
        self.waited = Histograms(_SECONDS)
        """By whether they were executed; those that found seats when they came are not among them."""
        self.lengths = Histogram(_LENGTHS)
        self.watchers = Histogram(_WATCHERS)
        self.regular, self.watches = Histogram(_SECONDS), Histogram(_SECONDS)
        """How long they were executed; of watches, until they had begun."""

    @property
    def at_once(self) -> int:
        """Requests that found seats when they came."""
        return self.came - self.delayed - self.refused["concurrency-limit"] - self.refused["queue-full"]


class Crowd:
    """All requests that read, or all that write: how many are executing and waiting."""

    __slots__ = ("dwell", "executing", "use", "waiting")

    def __init__(self, now: float) -> None:
        self.executing = self.waiting = 0
        self.dwell = Dwell((1, 0), now)
        self.use = {"executing": Histogram(_OF_KINDS), "waiting": Histogram(_OF_KINDS)}

    def change(self, executing: int, waiting: int, now: float) -> None:
        self.executing += executing
        self.waiting += waiting
        self.dwell.move((self.executing, self.waiting), now)

    def fold(self, most: int, most_waiting: int, now: float) -> None:
        """Put what was since the last time into the histograms, as parts of the most there may be."""
        for (executing, waiting), seconds in self.dwell.take(now).items():
            sample(self.use["executing"], executing / (most or 1), seconds)
            sample(self.use["waiting"], waiting / (most_waiting or 1), seconds)


class PriorityLevel:
    """One level: its object, its queues, and what was seen of it."""

    def __init__(self, obj: Object, now: float) -> None:
        self.name: str = obj["metadata"]["name"]
        self.exempt = self.name == "exempt"
        self.queues: Queues[Seat] = Queues(now, exempt=self.exempt)
        self.share = limits.Level(limits.Limits(0, 0, 0), self.exempt)
        self.drops = Drops()
        self.going = False
        """Its object is deleted; it goes when its last request has."""
        self.seats_use, self.demand = Histogram(_OF_SEATS), Histogram(_OF_DEMAND)
        self.use = {"executing": Histogram(_OF_REQUESTS), "waiting": Histogram(_OF_REQUESTS)}
        self._seen = Moments(0)
        self._parts = 1
        """Of what use is told: of the seats, or some number where there are none."""
        self.describe(obj)

    def describe(self, obj: Object) -> None:
        """Be what the object says now."""
        spec = obj["spec"]
        said = spec.get("exempt" if self.exempt else "limited") or {}
        self.uid: str = obj["metadata"].get("uid") or ""
        shares, lendable = said.get("nominalConcurrencyShares") or 0, said.get("lendablePercent") or 0
        self.terms = limits.Terms(shares, lendable, said.get("borrowingLimitPercent"))
        queuing = (said.get("limitResponse") or {}).get("queuing") or {}
        self.queues.arrange(queuing.get("queues", 0), queuing.get("handSize", 0), queuing.get("queueLengthLimit", 0))
        self.going = False

    @property
    def most_waiting(self) -> int:
        return len(self.queues.queues) * self.queues.length

    @property
    def most_seats(self) -> int:
        """Of one request; 0: nothing is said."""
        return width.most_seats(self.share.limits.nominal, self.queues.hand) if self.queues.queues else 0

    def resize(self, otherwise: int, now: float) -> None:
        """Have as many seats as the adjustment says. ``otherwise``: of what use is a part, where these are none."""
        self.fold(now)
        self._parts = self.share.current or otherwise
        self.queues.resize(self.share.current, now)

    def fold(self, now: float) -> None:
        """Put what was since the last time into the histograms, and add it to what is known of the demand."""
        most_waiting = self.most_waiting or self.queues.length or 1
        for (executing, seats, waiting, seats_waiting), seconds in self.queues.dwell.take(now).items():
            sample(self.use["executing"], executing / self._parts, seconds)
            sample(self.use["waiting"], waiting / most_waiting, seconds)
            sample(self.seats_use, seats / self._parts, seconds)
            sample(self.demand, (seats + seats_waiting) / self._parts, seconds)
            self._seen.add(seats + seats_waiting, seconds)

    def learn(self) -> None:
        """The demand since the last time is what the next seats are given by; it is folded in already."""
        self.share.demand.learn(self._seen)
        self._seen = Moments(self.queues.seats + self.queues.seats_waiting)


@dataclass(slots=True)
class Flow:
    """All that matters of the requests of one flow that read, or that write."""

    schema: FlowSchema
    level: PriorityLevel
    distinguisher: str
    hand: tuple[int, ...]
    classified: Classified
    tally: Tally
    crowd: Crowd


class Levels:
    """All levels with their ``total`` seats, and the schemas that lead to them."""

    def __init__(self, total: int, now: float) -> None:
        self.total = total
        self.fair = 0.0
        self.passing: Seat | None = None
        """The request that was let pass last, if nothing else has happened since: it is not seated yet.

        Most are answered in one go. Nobody is there beside them who could see that they have a seat: it is enough to
        note, when they leave, that they were there. Whatever happens in between has to :meth:`settle` this before.
        """
        self.reading, self.writing = Crowd(now), Crowd(now)
        self.levels: dict[str, PriorityLevel] = {}
        self.tallies: dict[tuple[str, ...], Tally] = {}
        """By level and schema."""
        self._schemas: list[FlowSchema] = []
        self._flows: dict[tuple[object, ...], Flow] = {}
        """What was found: by user and what is asked; many of these are of one flow, by schema and distinguisher."""
        self._distinct: dict[tuple[str, str, bool], Flow] = {}
        self._given: object = None
        self.configure((), (), now)

    def settle(self) -> None:
        """Something else happens: who is passing has a seat."""
        seat, self.passing = self.passing, None
        if seat is not None:
            seat.flow.level.queues.enter(seat, seat.flow.hand, seat.arrived)
            seat.flow.crowd.change(1, 0, seat.arrived)

    def configure(self, levels: Iterable[Object], schemas: Iterable[Object], now: float) -> None:
        """Be what these objects say. Schemas that lead nowhere are left out; what is mandatory needs no object."""
        levels, schemas = _completed(levels, schemas)
        given = [(obj["metadata"]["name"], obj["metadata"].get("uid"), obj["spec"]) for obj in (*levels, *schemas)]
        if given == self._given:
            return
        self.settle()
        self._given = given
        named = {obj["metadata"]["name"]: obj for obj in levels}
        for name, obj in named.items():
            if name in self.levels:
                self.levels[name].describe(obj)
            else:
                self.levels[name] = PriorityLevel(obj, now)
        for name in self.levels.keys() - named.keys():
            self.levels[name].going = True
        self._schemas = [each for each in in_order(map(FlowSchema.of, schemas)) if each.level in named]
        self._forget()
        self._divide(now)

    def reap(self, now: float) -> None:
        """Let those levels go that are to go and have nothing left to do; the others share their seats."""
        if any(level.going and level.queues.idle for level in self.levels.values()):
            self._divide(now)

    def adjust(self, now: float) -> None:
        """Give every level the seats that it should have now."""
        self.fold(now)
        levels = self.levels.values()
        for level in levels:
            level.learn()
        self.fair = limits.adjust([level.share for level in levels])
        for level in levels:
            level.resize(max(1, round(self.total / 10)), now)

    def fold(self, now: float) -> None:
        """Put what was since the last time into all histograms."""
        self.settle()
        most = sum(level.share.limits.nominal for level in self.levels.values())
        most_waiting = sum(level.most_waiting for level in self.levels.values())
        for crowd in (self.reading, self.writing):
            crowd.fold(most, most_waiting, now)
        for level in self.levels.values():
            level.fold(now)

    def flow_of(self, user: User, info: RequestInfo) -> Flow:
        """To which flow a request belongs. Called for every request: what was found before is found at once."""
        if info.resource:
            key: tuple[object, ...] = (user, info.verb, info.group, info.resource, info.subresource, info.namespace)
        else:
            key = (user, info.verb, info.path)
        return self._flows.get(key) or self._find(key, user, info)

    def _find(self, key: tuple[object, ...], user: User, info: RequestInfo) -> Flow:
        schema = schema_of(user, info, self._schemas)
        level = self.levels[schema.level]
        number = len(level.queues.queues)
        distinguisher = schema.distinguish(user, info) if number > 1 else ""
        if len(self._flows) >= REMEMBERED:
            self._forget()
        reads = info.verb in _READING
        found = self._distinct.get((schema.name, distinguisher, reads))
        if found is None:
            found = self._distinct[schema.name, distinguisher, reads] = self._make(schema, level, distinguisher, reads)
        if len(info.path) <= KEPT_UP_TO:  # so that nobody fills the memory
            self._flows[key] = found
        return found

    def _make(self, schema: FlowSchema, level: PriorityLevel, distinguisher: str, reads: bool) -> Flow:
        number = len(level.queues.queues)
        hand = deal(hash_of(schema.name, distinguisher), number, level.queues.hand) if number > 1 else (0,)
        classified = Classified(flowschema=schema.uid, prioritylevel=level.uid)
        tally = self.tallies.setdefault((level.name, schema.name), Tally(queued=number > 0))
        crowd = self.reading if reads else self.writing
        return Flow(schema, level, distinguisher, hand, classified, tally, crowd)

    def _forget(self) -> None:
        self._flows.clear()
        self._distinct.clear()

    def _divide(self, now: float) -> None:
        self.levels = {n: level for n, level in self.levels.items() if not (level.going and level.queues.idle)}
        divided = limits.limits_of(self.total, {name: level.terms for name, level in self.levels.items()})
        for name, found in divided.items():
            share = self.levels[name].share
            new = not share.limits.upper
            share.limits = found
            if new:
                share.current = found.at_first
        self.adjust(now)


def _completed(levels: Iterable[Object], schemas: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """With those that are mandatory, where there is no object of them."""
    found: dict[str, list[Object]] = {
        bootstrap.PRIORITY_LEVELS.resource: list(levels),
        bootstrap.FLOW_SCHEMAS.resource: list(schemas),
    }
    for gvr, _, obj in bootstrap.objects(""):
        name, there = obj["metadata"]["name"], found[gvr.resource]
        if name in MANDATORY and all(each["metadata"]["name"] != name for each in there):
            there.append(obj)
    return found[bootstrap.PRIORITY_LEVELS.resource], found[bootstrap.FLOW_SCHEMAS.resource]
