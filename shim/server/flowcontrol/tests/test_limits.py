"""Seats by weight, and lent: against the numbers that upstream's server shows for the levels of a fresh cluster."""

from __future__ import annotations

import pytest

from shim.api.timing import Histogram
from shim.server.flowcontrol.dwell import Dwell, Moments, sample
from shim.server.flowcontrol.limits import Claim, Demand, Level, Limits, Terms, adjust, limits_of, share

FRESH = {
    "catch-all": Terms(5),
    "exempt": Terms(0),
    "global-default": Terms(20, 50),
    "leader-election": Terms(10),
    "node-high": Terms(40, 25),
    "system": Terms(30, 33),
    "workload-high": Terms(40, 50),
    "workload-low": Terms(100, 90),
}


def _levels(total: int = 600) -> dict[str, Level]:
    return {name: Level(found, name == "exempt") for name, found in limits_of(total, FRESH).items()}


def test_seats_of_a_fresh_cluster() -> None:
    found = limits_of(600, FRESH)
    assert {name: (each.nominal, each.lower) for name, each in found.items()} == {
        "catch-all": (13, 13),
        "exempt": (0, 0),
        "global-default": (49, 24),
        "leader-election": (25, 25),
        "node-high": (98, 73),
        "system": (74, 50),
        "workload-high": (98, 49),
        "workload-low": (245, 24),
    }
    assert found["system"].upper == 674
    assert limits_of(600, {"a": Terms(1, 0, 50)})["a"].upper == 900


def test_what_is_not_wanted_is_divided_by_what_each_has_at_least() -> None:
    levels = _levels()
    levels["exempt"].demand.peak, levels["exempt"].demand.smoothed = 1, 1.61
    fair = adjust(list(levels.values()))
    assert {name: each.current for name, each in levels.items()} == {
        "catch-all": 30,
        "exempt": 1,
        "global-default": 56,
        "leader-election": 58,
        "node-high": 170,
        "system": 117,
        "workload-high": 114,
        "workload-low": 56,
    }
    assert fair == pytest.approx(602 / 258)


def test_a_level_that_is_asked_much_of_borrows() -> None:
    levels = _levels()
    busy = levels["workload-low"]
    busy.demand.peak, busy.demand.smoothed = 400, 300.0
    adjust(list(levels.values()))
    assert busy.current > busy.limits.nominal
    assert all(each.current >= each.limits.lower for each in levels.values())
    own = levels["global-default"]
    own.demand.peak = own.demand.smoothed = 60  # who lends gets it back as soon as they need it
    adjust(list(levels.values()))
    assert own.current >= own.limits.nominal


def test_what_exempt_requests_take_is_missing_elsewhere() -> None:
    levels = _levels()
    levels["exempt"].demand.peak = 500
    fair = adjust(list(levels.values()))
    assert fair == 0
    assert {name: each.current for name, each in levels.items() if name != "exempt"} == {
        name: each.limits.lower for name, each in levels.items() if name != "exempt"
    }


@pytest.mark.parametrize(
    ("total", "claims", "given", "part"),
    [
        (10, [(0, 10, 1), (0, 10, 1)], [5, 5], 5),
        (12, [(0, 20, 1), (0, 20, 2)], [4, 8], 4),
        (10, [(0, 2, 1), (0, 10, 1)], [2, 8], 8),
        (10, [(6, 10, 6), (0, 10, 6)], [6, 4], 4 / 6),
        (0, [(0, 5, 0), (0, 5, 0)], [0, 0], 0),
        (10, [(5, 9, 5), (5, 9, 5)], [5, 5], 1),
        (8, [(1, 4, 2), (1, 4, 2)], [4, 4], 2),
    ],
)
def test_shares(total: float, claims: list[tuple[float, float, float]], given: list[float], part: float) -> None:
    found, fair = share(total, [Claim(*each) for each in claims])
    assert found == pytest.approx(given)
    assert fair == pytest.approx(part)


@pytest.mark.parametrize("total", [1, 30])
def test_bounds_that_allow_no_share(total: float) -> None:
    with pytest.raises(ValueError, match="bounds"):
        share(total, [Claim(2, 10, 5), Claim(2, 10, 5)])


def test_more_is_believed_at_once_and_less_by_and_by() -> None:
    demand, seen = Demand(), Moments(0)
    seen.add(100, 5.0)
    seen.add(0, 5.0)
    demand.learn(seen)
    assert (demand.peak, demand.average, demand.deviation, demand.smoothed) == (100, 50, 50, 100)
    demand.learn(Moments(0))
    assert demand.peak == 0
    assert demand.smoothed == pytest.approx(97.7)


def test_time_is_kept_by_state() -> None:
    dwell = Dwell((1,), 0.0)
    dwell.move((2,), 1.0)
    dwell.move((5,), 4.0)
    dwell.move((0,), 4.0)  # too short to be measured, and seen all the same
    assert dict(dwell.take(6.0)) == {(0,): 3.0, (2,): 3.0, (5,): 0.0}
    dwell.brief = 0.25
    assert dict(dwell.take(7.0)) == {(0,): 0.75, (1,): 0.25}
    histogram = Histogram((0, 0.5, 1))
    sample(histogram, 0.25, 2e-9)
    sample(histogram, 1, 1e-9)
    assert (histogram.counts, histogram.total) == ([0, 2, 1, 0], 1.5)


def test_half_of_what_may_be_lent_is_kept_at_first() -> None:
    assert Limits(49, 24, 649).at_first == 37
