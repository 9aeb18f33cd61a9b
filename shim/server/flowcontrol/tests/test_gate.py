"""A request's way through the gate: it passes, is seated when something else happens, and is counted either way."""

from __future__ import annotations

from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest

from shim.resources.bootstrap import flow as bootstrap
from shim.server.flowcontrol.families import families
from shim.server.flowcontrol.gate import Gate, Seat
from shim.server.flowcontrol.levels import Levels
from shim.server.routes import parse
from shim.server.users import AUTHENTICATED, User

ALICE = User("alice", (AUTHENTICATED,))
POD = parse("GET", "/api/v1/namespaces/a/pods/b")


def _objects() -> tuple[list[Any], list[Any]]:
    found: dict[Any, list[Any]] = {bootstrap.PRIORITY_LEVELS: [], bootstrap.FLOW_SCHEMAS: []}
    for gvr, _, obj in bootstrap.objects(""):
        found[gvr].append({**obj, "metadata": {**obj["metadata"], "uid": f"uid-of-{obj['metadata']['name']}"}})
    return found[bootstrap.PRIORITY_LEVELS], found[bootstrap.FLOW_SCHEMAS]


def _without_default(objects: list[Any]) -> list[Any]:
    return [each for each in objects if each["metadata"]["name"] != "global-default"]


@pytest.fixture
def gate() -> Gate:
    levels = Levels(600, perf_counter())
    levels.configure(*_objects(), perf_counter())
    return Gate(levels, SimpleNamespace(count=lambda _: 0), SimpleNamespace(get=lambda *_: None))  # type: ignore[arg-type]


def _take(gate: Gate, user: User = ALICE, path: str = POD.path) -> Seat:
    return gate.take(SimpleNamespace(), user, parse("GET", path), {})  # type: ignore[arg-type]


def _told(gate: Gate, name: str) -> float:
    return sum(sample.value for family in families(gate) for sample in family.samples if sample.name == name)


def test_a_request_that_nothing_happens_beside_is_only_counted(gate: Gate) -> None:
    seat = _take(gate)
    queues = seat.flow.level.queues
    assert not seat.waits
    assert not queues.executing
    seat.leave()
    assert (queues.seats, seat.ended > seat.began, gate.levels.passing) == (0, True, None)
    assert _told(gate, "apiserver_flowcontrol_dispatched_requests_total") == 1
    assert _told(gate, "apiserver_flowcontrol_request_execution_seconds_count") == 1
    assert seat.flow.level.share.demand.peak == 0
    gate.levels.adjust(perf_counter())
    assert seat.flow.level.share.demand.peak == 1  # it was there, if only for a moment


def test_one_that_something_happens_beside_has_a_seat(gate: Gate) -> None:
    first, second = _take(gate), _take(gate)
    queues = first.flow.level.queues
    assert queues.executing == {first}
    assert _told(gate, "apiserver_flowcontrol_current_executing_requests") == 2
    assert queues.executing == {first, second}
    for seat in (first, second, first):  # leaving twice is leaving once
        seat.leave()
    assert (queues.executing, queues.seats, gate.levels.reading.executing) == (set(), 0, 0)
    assert _told(gate, "apiserver_flowcontrol_dispatched_requests_total") == 2


def test_what_was_found_out_is_forgotten_when_an_object_changes(gate: Gate) -> None:
    before = _take(gate)
    assert _take(gate).flow is before.flow
    assert before.flow.classified.headers["X-Kubernetes-Pf-Flowschema-Uid"] == "uid-of-global-default"
    levels, schemas = _objects()
    gate.levels.configure(levels, schemas, perf_counter())
    assert _take(gate).flow is before.flow  # nothing has changed
    gate.levels.configure(
        levels, [each for each in schemas if "default" not in each["metadata"]["name"]], perf_counter()
    )
    assert _take(gate).flow.schema.name == "catch-all"


def test_a_schema_that_leads_nowhere_is_left_out(gate: Gate) -> None:
    levels, schemas = _objects()
    gate.levels.configure(
        [each for each in levels if "default" not in each["metadata"]["name"]], schemas, perf_counter()
    )
    assert _take(gate).flow.schema.name == "catch-all"


def test_what_is_mandatory_needs_no_object() -> None:
    levels = Levels(600, perf_counter())
    assert set(levels.levels) == {"exempt", "catch-all"}
    assert levels.levels["catch-all"].share.current == 600
    assert levels.flow_of(ALICE, POD).classified.lines.endswith(b"X-Kubernetes-Pf-Prioritylevel-Uid: \r\n")


def test_requests_of_one_flow_share_what_is_known_of_it(gate: Gate) -> None:
    one, other = _take(gate), _take(gate, path="/api/v1/namespaces/b/services/c")
    assert one.flow is other.flow
    assert _take(gate, User("bob", ALICE.groups)).flow is not one.flow
    long = f"/{'x' * 1000}"
    assert _take(gate, path=long).flow is one.flow
    known = len(gate.levels._flows)
    _take(gate, path=f"{long}y")
    assert len(gate.levels._flows) == known  # what is long is not kept


def test_a_level_without_an_object_goes_when_nobody_waits_any_more(gate: Gate) -> None:
    levels, schemas = _objects()
    seat = _take(gate)
    _take(gate)
    gate.levels.configure(_without_default(levels), _without_default(schemas), perf_counter())
    assert gate.levels.levels["global-default"].going
    gate.levels.reap(perf_counter())
    assert "global-default" in gate.levels.levels
    for ticket in list(seat.flow.level.queues.executing):
        ticket.leave()
    assert "global-default" not in gate.levels.levels
