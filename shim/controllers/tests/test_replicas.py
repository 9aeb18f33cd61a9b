"""Replicas: which pods go first, what the status says, who adopts what."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from shim.api.meta import Object, parse_time
from shim.api.status import ApiError
from shim.controllers.adoption import plan_claims
from shim.controllers.expectations import Expectations
from shim.controllers.pod_control import pod_from_template, slow_start
from shim.controllers.pod_ranking import choose_victims
from shim.controllers.pod_readiness import is_available, seconds_until_available
from shim.controllers.replicas import replicas_status
from shim.controllers.template_hash import safe_encode
from shim.controllers.tests.builders import EARLIER, NOW, deployment, owned, pod, replica_set

AT = parse_time(NOW)


def names(pods: list[Object]) -> list[str]:
    return [each["metadata"]["name"] for each in pods]


def first(*pods: Object, related: list[Object] | None = None) -> str:
    return names(choose_victims(list(pods), related or [], 1, AT))[0]


def test_what_is_worth_least_goes_first() -> None:
    ready = pod("ready")
    assert first(ready, pod("unplaced", node="", phase="Pending")) == "unplaced"
    assert first(ready, pod("pending", phase="Pending")) == "pending"
    assert first(ready, pod("unready", ready=False)) == "unready"
    cheap = pod("cheap", annotations={"controller.kubernetes.io/pod-deletion-cost": "-1"})
    assert first(ready, cheap) == "cheap"
    assert first(ready, pod("young", since="2026-01-01T00:00:59Z")) == "young"


def test_of_two_on_different_nodes_the_one_in_company_goes() -> None:
    alone, together, neighbour = pod("alone", node="n1"), pod("together", node="n2"), pod("neighbour", node="n2")
    assert first(alone, together, related=[alone, together, neighbour]) == "together"


def test_availability_takes_the_ready_time() -> None:
    fresh = pod("p", since="2026-01-01T00:00:55Z")
    assert is_available(fresh, 0, AT)
    assert not is_available(fresh, 10, AT)
    assert seconds_until_available([fresh, pod("old")], 10, AT) == 5
    assert not is_available(pod("q", ready=False), 0, AT)


def test_the_status_counts() -> None:
    owner = replica_set("r", 3)
    pods = [pod("a", owner), pod("b", owner, ready=False), pod("c", owner, labels={"app": "b"})]
    assert replicas_status(owner, pods, 1, None, AT) == {
        "replicas": 3,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "terminatingReplicas": 1,
        "observedGeneration": 1,
    }


def test_a_failure_stays_in_the_status_until_it_is_over() -> None:
    owner = replica_set("r", 3)
    failed = replicas_status(owner, [], 0, ApiError(403, "Forbidden", "exceeded quota"), AT)
    condition = failed["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("ReplicaFailure", "FailedCreate")
    assert condition["message"] == "exceeded quota"
    owner["status"] = failed
    again = replicas_status(owner, [], 0, ApiError(403, "Forbidden", "other words"), AT)
    assert again["conditions"] == failed["conditions"]
    assert "conditions" not in replicas_status(owner, [], 0, None, AT)


def test_claims() -> None:
    owner = replica_set("r", 3)
    mine, orphan = pod("mine", owner), pod("orphan")
    stray, theirs = pod("stray", owner, labels={}), pod("theirs", replica_set("other", 1))
    dying = pod("dying", deleted=True)

    def matches(each: Object) -> bool:
        return each["metadata"]["labels"].get("app") == "a"

    claims = plan_claims(owner, matches, [mine, orphan, stray, theirs, dying])
    assert (names(claims.owned), names(claims.adopt), names(claims.release)) == (["mine"], ["orphan"], ["stray"])
    owner["metadata"]["deletionTimestamp"] = NOW
    claims = plan_claims(owner, matches, [mine, orphan, stray])
    assert (names(claims.owned), claims.adopt, claims.release) == (["mine"], [], [])


def test_a_pod_of_a_template() -> None:
    wanted = deployment()
    made = pod_from_template(wanted["spec"]["template"], "d", owned(wanted)[0])
    assert made["metadata"]["generateName"] == "d-"
    assert made["metadata"]["labels"] == {"app": "a"}
    assert made["spec"] is not wanted["spec"]["template"]["spec"]


class Seen:
    """An informer that is complete up to a revision."""

    revision = 0

    def on_replace(self, handler: Callable[[], None]) -> None:
        self.relisted = handler


def test_expectations_hold_until_everything_was_seen() -> None:
    pods: Any = Seen()
    woken: list[str] = []
    expectations = Expectations(pods, woken.append)
    assert expectations.satisfied("ns/r")
    expectations.expect("ns/r", deletions=["ns/a"])
    made = pod("b")
    made["metadata"]["resourceVersion"] = "7"
    expectations.created("ns/r", made)
    pods.revision = 6
    expectations.deleted("ns/r", "ns/a")
    assert not expectations.satisfied("ns/r")
    pods.relisted()
    assert woken == []
    pods.revision = 7
    assert expectations.satisfied("ns/r")
    pods.relisted()
    assert woken == ["ns/r"]
    expectations.expect("ns/r", deletions=["ns/b"])
    expectations.deleted("ns/r", "ns/other")
    assert not expectations.satisfied("ns/r")


async def test_creates_start_slowly_and_stop_at_the_first_failure() -> None:
    running, most = 0, 0

    async def create() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)

    assert await slow_start(7, create) == (7, None)
    calls = 0

    async def refuse() -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ApiError(403, "Forbidden", "exceeded quota")

    done, failure = await slow_start(30, refuse)
    assert (done, calls) == (1, 3)
    assert isinstance(failure, ApiError)


def test_names_are_written_in_safe_letters() -> None:
    assert safe_encode("0123456789") == "456789bcdf"


@pytest.mark.parametrize("offset", [0, 1])
def test_times_are_compared_exactly(offset: int) -> None:
    since = parse_time(EARLIER) + datetime.timedelta(seconds=offset)
    assert is_available(pod("p", since=since.isoformat()), 60, AT) == (offset == 0)
