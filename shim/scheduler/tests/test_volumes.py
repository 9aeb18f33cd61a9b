"""Claims that are bound, bound soon, or wait for the scheduler: as values."""

from __future__ import annotations

from typing import Any

from shim.api import claims as c
from shim.api.meta import Object
from shim.scheduler.filters import Attempt
from shim.scheduler.snapshot import Pod, Snapshot
from shim.scheduler.tests.test_placing import ZONE, a_cluster, a_node, a_pod, where, why_not

LATE = {"metadata": {"name": "late"}, "provisioner": "example.com/p", "volumeBindingMode": "WaitForFirstConsumer"}
STATIC = {**LATE, "metadata": {"name": "static"}, "provisioner": c.NO_PROVISIONER}


def claim(name: str = "data", size: str = "1Gi", storage_class: str = "late", **more: Any) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {**spec, "storageClassName": storage_class, **more}}


def bound_to(volume: str, **more: Any) -> Object:
    made = claim(volumeName=volume, **more)
    made["metadata"]["annotations"] = {c.BIND_COMPLETED: "yes"}
    made["status"] = {"phase": "Bound"}
    return made


def volume(name: str, size: str = "1Gi", node: str | None = None, storage_class: str = "late", **labels: str) -> Object:
    spec: Object = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    if node is not None:
        near = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [near]}]}}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Available"}}


def world(*objects: Object, zones: bool = False) -> Snapshot:
    nodes = [a_node(name, **({ZONE: name} if zones else {})) for name in ("n1", "n2")]
    snapshot = a_cluster(*nodes)
    for obj in objects:
        if "provisioner" in obj:
            snapshot.storage_classes[obj["metadata"]["name"]] = obj
        elif "namespace" in obj["metadata"]:
            snapshot.claims[f"default/{obj['metadata']['name']}"] = obj
        else:
            snapshot.volumes[obj["metadata"]["name"]] = obj
    return snapshot


def user_of(*names: str) -> Pod:
    return a_pod(volumes=[{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names])


def test_a_bound_volume_is_used_where_it_can_be_reached():
    snapshot = world(LATE, bound_to("v"), volume("v", node="n2"))
    assert where(snapshot, user_of("data")) == {"n2"}
    assert "2 node(s) didn't match PersistentVolume's node affinity" in why_not(
        world(LATE, bound_to("v"), volume("v", node="n3")), user_of("data")
    )


def test_a_volume_that_vanished_makes_every_node_useless():
    assert "bound to non-existent pv(s)" in why_not(world(LATE, bound_to("v")), user_of("data"))


def test_an_immediate_claim_must_be_bound_first():
    immediate = {**LATE, "volumeBindingMode": "Immediate"}
    text = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    assert why_not(world(immediate, claim()), user_of("data")).startswith(text)


def test_a_waiting_claim_takes_the_smallest_free_volume_in_reach_else_one_is_made():
    snapshot = world(LATE, claim(), volume("large", "9Gi", "n1"), volume("small", "2Gi", "n1"), volume("tiny", "1Mi"))
    attempt = Attempt(user_of("data"), snapshot)
    here = attempt.volumes.choose(snapshot.node("n1").obj)
    assert [found["metadata"]["name"] for found, _ in here.reserved] == ["small"]
    there = attempt.volumes.choose(snapshot.node("n2").obj)
    assert [each["metadata"]["name"] for each in there.provisioned] == ["data"]


def test_two_claims_of_one_pod_and_of_two_pods_never_get_the_same_volume():
    snapshot = world(STATIC, claim("a", storage_class="static"), claim("b", storage_class="static"))
    snapshot.volumes["v"] = volume("v", storage_class="static")
    assert where(snapshot, user_of("a")) == {"n1", "n2"}
    assert "didn't find available persistent volumes to bind" in why_not(snapshot, user_of("a", "b"))
    snapshot.reserved["v"] = "uid-a"
    assert where(snapshot, user_of("b")) == set()


def test_a_claim_that_chose_its_node_keeps_it():
    made = claim()
    made["metadata"]["annotations"] = {c.SELECTED_NODE: "n2"}
    assert where(world(LATE, made), user_of("data")) == {"n2"}


def test_a_class_may_serve_some_places_only():
    term = {"matchLabelExpressions": [{"key": ZONE, "values": ["n2"]}]}
    assert where(world({**LATE, "allowedTopologies": [term]}, claim(), zones=True), user_of("data")) == {"n2"}


def test_a_volume_of_another_zone_is_out_of_reach():
    assert where(world(LATE, bound_to("v"), volume("v", **{ZONE: "n1__n3"}), zones=True), user_of("data")) == {"n1"}


def test_a_claim_for_one_pod_serves_one_pod():
    snapshot = world(LATE, bound_to("v", accessModes=["ReadWriteOncePod"]), volume("v"))
    first = user_of("data")
    assert where(snapshot, first) == {"n1", "n2"}
    snapshot.place(first, "n1")
    assert "ReadWriteOncePod access mode already in-use by another pod" in why_not(snapshot, user_of("data"))
    snapshot.remove(first.uid)
    assert where(snapshot, user_of("data")) == {"n1", "n2"}
