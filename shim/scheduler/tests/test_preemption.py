"""Who must leave, as values: nothing runs."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.scheduler.filters import Attempt, feasible
from shim.scheduler.preemption import ALREADY, Budget, Preemption, not_eligible, preempt
from shim.scheduler.snapshot import Pod, Snapshot
from shim.scheduler.tests.test_placing import DEDICATED, a_cluster, a_node, a_pod, apart_from, where


def running(cpu: str, priority: int = 0, since: str = "2026-01-01T00:00:00Z", **more: Any) -> Pod:
    pod = a_pod(cpu, priority=priority, **more)
    pod.obj["status"] = {"startTime": since}
    return pod


def room_for(snapshot: Snapshot, pod: Pod, *budgets: Object) -> Preemption | None:
    attempt = Attempt(pod, snapshot)
    return preempt(attempt, feasible(attempt)[1], [Budget.of(each) for each in budgets])


def victims(snapshot: Snapshot, pod: Pod, *budgets: Object) -> tuple[str, set[str]] | None:
    found = room_for(snapshot, pod, *budgets)
    return (found.node.name, {victim.uid for victim in found.victims}) if found else None


def budget(allowed: int, **labels: str) -> Object:
    return {
        "metadata": {"namespace": "default", "name": "b"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed},
    }


def test_only_less_important_pods_leave_and_no_more_than_needed():
    snapshot = a_cluster(a_node("n1", cpu="4"))
    low, lower, equal = running("1", 5), running("2", 1), running("1", 10)
    for pod in (low, lower, equal):
        snapshot.place(pod, "n1")
    assert victims(snapshot, a_pod("2", priority=10)) == ("n1", {lower.uid})
    assert victims(snapshot, a_pod("3", priority=10)) == ("n1", {low.uid, lower.uid})
    assert victims(snapshot, a_pod("4", priority=10)) is None
    assert victims(snapshot, a_pod("2", priority=1)) is None


def test_a_node_whose_taint_refuses_is_not_emptied():
    snapshot = a_cluster(a_node("n1", cpu="1", taints=[DEDICATED]))
    snapshot.place(running("1"), "n1")
    assert victims(snapshot, a_pod("1", priority=10)) is None


def test_the_cheapest_node_is_chosen():
    snapshot = a_cluster(*(a_node(name, cpu="2") for name in ("n1", "n2", "n3", "n4")))
    snapshot.place(running("2", 7), "n1")  # too important
    for _ in range(2):
        snapshot.place(running("1", 3), "n2")  # two of them
    snapshot.place(running("2", 3, "2026-01-01T00:00:00Z"), "n3")  # has run for longer
    young = running("2", 3, "2026-02-02T00:00:00Z")
    snapshot.place(young, "n4")
    assert victims(snapshot, a_pod("2", priority=10)) == ("n4", {young.uid})


def test_budgets_are_broken_only_when_there_is_no_other_way():
    snapshot = a_cluster(a_node("n1", cpu="2"), a_node("n2", cpu="2"))
    kept, plain = running("2", 1, labels={"app": "db"}), running("2", 5)
    snapshot.place(kept, "n1")
    assert victims(snapshot, a_pod("2", priority=10), budget(0, app="db")) == ("n1", {kept.uid})
    snapshot.place(plain, "n2")
    assert victims(snapshot, a_pod("2", priority=10), budget(0, app="db")) == ("n2", {plain.uid})
    assert victims(snapshot, a_pod("2", priority=10), budget(1, app="db")) == ("n1", {kept.uid})


def test_on_one_node_the_protected_pod_stays():
    snapshot = a_cluster(a_node("n1", cpu="2"))
    protected, plain = running("1", 1, labels={"app": "db"}), running("1", 1)
    snapshot.place(protected, "n1")
    snapshot.place(plain, "n1")
    assert victims(snapshot, a_pod("1", priority=10), budget(0, app="db")) == ("n1", {plain.uid})


def test_a_pod_that_repels_leaves_too():
    snapshot = a_cluster(a_node("n1"))
    hermit = running("100m", labels={"app": "hermit"}, affinity=apart_from("web"))
    snapshot.place(hermit, "n1")
    assert victims(snapshot, a_pod(labels={"app": "web"}, priority=1)) == ("n1", {hermit.uid})


def test_room_that_is_being_made_is_not_given_to_the_less_important():
    snapshot = a_cluster(a_node("n1", cpu="2"))
    promised = a_pod("2", priority=10)
    snapshot.nominate(promised, "n1")
    assert where(snapshot, a_pod("1", priority=5)) == set()
    assert where(snapshot, a_pod("1", priority=11)) == {"n1"}
    assert where(snapshot, promised) == {"n1"}
    snapshot.forget_nomination(promised.uid)
    assert where(snapshot, a_pod("1", priority=5)) == {"n1"}


def test_who_waits_for_a_victim_to_end_takes_no_further_one():
    snapshot = a_cluster(a_node("n1", cpu="1"))
    victim = running("1")
    victim.terminating = True
    snapshot.place(victim, "n1")
    pod = a_pod("1", priority=10)
    assert not_eligible(Attempt(pod, snapshot)) is None
    pod.obj["status"] = {"nominatedNodeName": "n1"}
    assert not_eligible(Attempt(pod, snapshot)) == ALREADY


def test_the_company_a_promised_pod_refuses_is_kept_away():
    snapshot = a_cluster(a_node("n1"), a_node("n2"))
    promised = a_pod(priority=10, affinity=apart_from("web"))
    snapshot.nominate(promised, "n1")
    for nominated, nodes in ((True, ["n2"]), (False, ["n1", "n2"])):
        if not nominated:
            snapshot.forget_nomination(promised.uid)
        found, _ = feasible(Attempt(a_pod(labels={"app": "web"}), snapshot))
        assert [node.name for node in found] == nodes
    assert snapshot.repelling == 0
