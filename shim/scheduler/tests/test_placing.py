"""Filters, scores and the sentence about their refusals, as values: nothing runs."""

from __future__ import annotations

import itertools
from typing import Any

from shim.api.meta import Object
from shim.scheduler import messages
from shim.scheduler.filters import Attempt, enough_of, feasible, refuse_everywhere
from shim.scheduler.preemption import not_eligible
from shim.scheduler.scores import best, siblings_apart
from shim.scheduler.snapshot import Pod, Snapshot

uids = itertools.count()


def a_node(name: str, cpu: str = "4", taints: list[Object] | None = None, pods: str = "110", **labels: str) -> Object:
    labels = {"kubernetes.io/hostname": name, **labels}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints or []},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": pods}},
    }


def a_pod(cpu: str = "100m", labels: dict[str, str] | None = None, owner: str = "", **spec: Any) -> Pod:
    owners = [{"uid": owner, "controller": True}] if owner else []
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}, "ports": spec.pop("ports", [])}
    number = next(uids)
    metadata = {"name": f"p{number}", "namespace": "default", "uid": f"u{number}", "ownerReferences": owners}
    return Pod.of({"metadata": {**metadata, "labels": labels or {}}, "spec": {"containers": [container], **spec}})


def a_cluster(*nodes: Object) -> Snapshot:
    snapshot = Snapshot()
    for each in nodes:
        snapshot.show_node(each)
    return snapshot


def where(snapshot: Snapshot, pod: Pod) -> set[str]:
    return {node.name for node in feasible(Attempt(pod, snapshot))[0]}


def why_not(snapshot: Snapshot, pod: Pod) -> str:
    attempt = Attempt(pod, snapshot)
    everywhere = refuse_everywhere(attempt)
    refusals = {} if everywhere else feasible(attempt)[1]
    barred = not_eligible(attempt)
    return messages.unschedulable(pod, len(attempt.nodes), refusals, everywhere, not_eligible=barred)


def chosen(snapshot: Snapshot, pod: Pod) -> str:
    attempt = Attempt(pod, snapshot)
    return best(attempt, feasible(attempt)[0]).name


ZONE = "topology.kubernetes.io/zone"
DEDICATED = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}


def test_a_pod_goes_where_its_requests_fit_counting_those_assumed():
    snapshot = a_cluster(a_node("small", cpu="1"), a_node("large", cpu="4"))
    assert where(snapshot, a_pod("2")) == {"large"}
    for _ in range(2):
        snapshot.place(a_pod("1500m"), "large")
    assert where(snapshot, a_pod("2")) == set()


def test_the_sentence_counts_reasons_over_nodes():
    snapshot = a_cluster(a_node("n1", cpu="1"), a_node("n2", taints=[DEDICATED]), a_node("n3", taints=[DEDICATED]))
    assert why_not(snapshot, a_pod("2")) == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). "
        "no new claims to deallocate, preemption: 0/3 nodes are available: "
        "3 Preemption is not helpful for scheduling."
    )


def test_a_node_that_others_fill_might_be_preempted_but_has_no_victims():
    snapshot = a_cluster(a_node("n1", cpu="1"))
    snapshot.place(a_pod("1"), "n1")
    assert why_not(snapshot, a_pod("1")).endswith(
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    assert why_not(snapshot, a_pod("1", preemptionPolicy="Never")).endswith(
        "preemption: not eligible due to preemptionPolicy=Never."
    )


def test_a_cluster_without_nodes_says_so():
    assert why_not(a_cluster(), a_pod()) == "no nodes available to schedule pods"


def test_a_missing_claim_is_named():
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    sentence = why_not(a_cluster(a_node("n1")), a_pod(volumes=[volume]))
    assert sentence.startswith('0/1 nodes are available: persistentvolumeclaim "data" not found. no new claims')


def test_an_init_container_needs_as_much_as_it_needs_alone():
    snapshot = a_cluster(a_node("n1", cpu="1"), a_node("n2", cpu="4"))
    greedy = {"name": "i", "resources": {"requests": {"cpu": "3"}}}
    assert where(snapshot, a_pod("500m", initContainers=[greedy])) == {"n2"}


def test_selectors_affinity_and_tolerations_decide_together():
    snapshot = a_cluster(a_node("n1", disk="ssd", taints=[DEDICATED]), a_node("n2", disk="ssd"), a_node("n3"))
    assert where(snapshot, a_pod(nodeSelector={"disk": "ssd"})) == {"n2"}
    tolerant = [{"key": "dedicated", "operator": "Exists"}]
    assert where(snapshot, a_pod(nodeSelector={"disk": "ssd"}, tolerations=tolerant)) == {"n1", "n2"}
    term = {"matchExpressions": [{"key": "disk", "operator": "DoesNotExist"}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    assert where(snapshot, a_pod(affinity={"nodeAffinity": required})) == {"n3"}


def test_a_cordoned_node_takes_only_those_who_tolerate_it():
    cordoned = a_node("n1")
    cordoned["spec"]["unschedulable"] = True
    snapshot = a_cluster(cordoned)
    assert "1 node(s) were unschedulable" in why_not(snapshot, a_pod())
    assert where(snapshot, a_pod(tolerations=[{"operator": "Exists"}])) == {"n1"}


def test_a_host_port_is_taken_once_per_address():
    snapshot = a_cluster(a_node("n1"))
    snapshot.place(a_pod(ports=[{"hostPort": 80, "hostIP": "10.0.0.1"}]), "n1")
    assert where(snapshot, a_pod(ports=[{"hostPort": 80, "hostIP": "10.0.0.2"}])) == {"n1"}
    assert where(snapshot, a_pod(ports=[{"hostPort": 80, "protocol": "UDP"}])) == {"n1"}
    assert "didn't have free ports" in why_not(snapshot, a_pod(ports=[{"hostPort": 80}]))


def apart_from(app: str, key: str = "kubernetes.io/hostname") -> Object:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def near(app: str, key: str = ZONE) -> Object:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_pods_that_repel_each_other_are_kept_apart_both_ways():
    snapshot = a_cluster(a_node("n1"), a_node("n2"))
    snapshot.place(a_pod(labels={"app": "db"}, affinity=apart_from("web")), "n1")
    assert where(snapshot, a_pod(labels={"app": "web"})) == {"n2"}
    assert where(snapshot, a_pod(affinity=apart_from("db"))) == {"n2"}
    snapshot.place(a_pod(labels={"app": "web"}), "n2")
    sentence = why_not(snapshot, a_pod(labels={"app": "web"}, affinity=apart_from("web")))
    assert "1 node(s) didn't match pod anti-affinity rules" in sentence
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in sentence


def test_pods_that_want_company_share_its_zone_and_the_first_goes_anywhere():
    snapshot = a_cluster(a_node("n1", **{ZONE: "a"}), a_node("n2", **{ZONE: "a"}), a_node("n3", **{ZONE: "b"}))
    group = a_pod(labels={"app": "db"}, affinity=near("db"))
    assert where(snapshot, group) == {"n1", "n2", "n3"}
    assert "didn't match pod affinity rules" in why_not(snapshot, a_pod(affinity=near("db")))
    snapshot.place(group, "n1")
    assert where(snapshot, a_pod(affinity=near("db"))) == {"n1", "n2"}


def test_a_hard_spread_allows_no_more_skew_than_it_says():
    constraint = {
        "topologyKey": ZONE,
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    snapshot = a_cluster(a_node("n1", **{ZONE: "a"}), a_node("n2", **{ZONE: "b"}), a_node("n3"))
    web = {"labels": {"app": "web"}, "topologySpreadConstraints": [constraint]}
    assert where(snapshot, a_pod(**web)) == {"n1", "n2"}
    snapshot.place(a_pod(**web), "n1")
    assert where(snapshot, a_pod(**web)) == {"n2"}


def test_siblings_are_spread_before_room_is_looked_at():
    snapshot = a_cluster(a_node("n1", cpu="8"), a_node("n2", cpu="2"), a_node("n3", cpu="2"))
    for _ in range(3):
        pod = a_pod(owner="replica-set")
        snapshot.place(pod, chosen(snapshot, pod))
    assert [len(node.pods) for node in snapshot.nodes()] == [1, 1, 1]


def test_the_emptier_node_is_better():
    snapshot = a_cluster(a_node("n1"), a_node("n2"))
    snapshot.place(a_pod("2"), "n1")
    assert chosen(snapshot, a_pod()) == "n2"


def test_preferences_outweigh_room():
    wish = {"weight": 100, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    soft = {"key": "old", "effect": "PreferNoSchedule"}
    snapshot = a_cluster(a_node("n1", disk="ssd"), a_node("n2"), a_node("n3", taints=[soft]))
    snapshot.place(a_pod("1"), "n1")
    assert chosen(snapshot, a_pod(affinity=affinity)) == "n1"
    assert chosen(snapshot, a_pod()) == "n2"


def test_large_images_that_are_there_decide_between_equals():
    holder = a_node("n2")
    holder["status"]["images"] = [{"names": ["c:latest"], "sizeBytes": 900 << 20}]
    snapshot = a_cluster(a_node("n1"), holder)
    pod = a_pod()
    pod.spec["containers"][0]["image"] = "c"
    assert chosen(snapshot, pod) == "n2"


def test_those_who_are_there_may_wish_for_the_newcomer_too():
    snapshot = a_cluster(a_node("n1", cpu="8", **{ZONE: "a"}), a_node("n2", cpu="8", **{ZONE: "b"}))
    term = {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": "web"}}}
    wish = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
    snapshot.place(a_pod(affinity={"podAffinity": wish}), "n2")
    assert chosen(snapshot, a_pod(labels={"app": "web"})) == "n2"


def test_what_is_placed_twice_counts_once_and_what_is_removed_not_at_all():
    snapshot = a_cluster(a_node("n1"), a_node("n2"))
    pod = a_pod("1", affinity=apart_from("x"))
    snapshot.place(pod, "n1")
    snapshot.place(pod, "n2")
    assert (snapshot.node("n1").requested["cpu"], snapshot.node("n2").requested["cpu"]) == (0, 1000)
    snapshot.remove(pod.uid)
    assert (snapshot.node("n2").requested["cpu"], snapshot.repelling) == (0, 0)


def test_in_a_large_cluster_some_nodes_are_enough_and_all_have_their_turn() -> None:
    assert [enough_of(count) for count in (3, 100, 150, 500, 1000, 10000)] == [3, 100, 100, 230, 420, 500]
    snapshot = a_cluster(*(a_node(f"n{number}") for number in range(150)))
    first, _ = feasible(Attempt(a_pod(), snapshot))
    rest, _ = feasible(Attempt(a_pod(), snapshot), len(first))
    assert len(first) == 100
    assert {node.name for node in (*first, *rest)} == {node.name for node in snapshot.nodes()}


def test_pods_of_one_owner_go_to_other_zones_unless_they_say_how() -> None:
    zones = {"n1": "a", "n2": "a", "n3": "b"}
    snapshot = a_cluster(*(a_node(name, **{ZONE: zone}) for name, zone in zones.items()))
    snapshot.place(a_pod(owner="o"), "n1")
    attempt = Attempt(a_pod(owner="o"), snapshot)
    first, second, third = siblings_apart(attempt, attempt.nodes)
    assert first < second < third
    soft = {"topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"}
    own = [{**soft, "labelSelector": {"matchLabels": {"no": "body"}}}]
    for pod in (a_pod(owner="other"), a_pod(), a_pod(owner="o", topologySpreadConstraints=own)):
        assert len(set(siblings_apart(Attempt(pod, snapshot), attempt.nodes))) == 1


def test_pods_of_one_owner_that_are_here_to_stay_are_counted() -> None:
    snapshot = a_cluster(a_node("n1"))
    one, ending = a_pod(owner="o"), a_pod(owner="o")
    ending.terminating = True
    for pod in (one, ending):
        snapshot.place(pod, "n1")
    node = snapshot.nodes()[0]
    assert node.owners == {"o": 1}
    copy = node.copy()
    snapshot.remove(one.uid)
    assert (node.owners, copy.owners) == ({}, {"o": 1})
