"""Revisions: which ReplicaSet is the present one, its number, and what is forgotten."""

from __future__ import annotations

import copy
import re

from shim.controllers import deployment_revisions as revisions
from shim.controllers.tests.builders import deployment, owned, replica_set


def build(**spec: object):  # type: ignore[no-untyped-def]
    wanted = deployment(3, **spec)
    return revisions.build_replica_set(wanted, owned(wanted)[0], 1, 3, 4)


def test_a_new_set_looks_as_upstreams() -> None:
    made = build()
    name_hash = made["metadata"]["labels"]["pod-template-hash"]
    assert re.fullmatch("[bcdfghjklmnpqrstvwxz2456789]{7,10}", name_hash)
    assert made["metadata"]["name"] == f"d-{name_hash}"
    assert made["metadata"]["labels"] == {"app": "a", "pod-template-hash": name_hash}
    assert made["spec"]["selector"]["matchLabels"] == made["metadata"]["labels"]
    assert made["spec"]["template"]["metadata"]["labels"] == made["metadata"]["labels"]
    assert made["metadata"]["annotations"] == {
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
        "deployment.kubernetes.io/revision": "1",
    }


def test_a_collision_changes_the_name() -> None:
    wanted = deployment()
    wanted["status"] = {"collisionCount": 1}
    again = revisions.build_replica_set(wanted, owned(wanted)[0], 1, 3, 4)
    assert again["metadata"]["name"] != build()["metadata"]["name"]


def test_the_present_set_is_found_by_its_template() -> None:
    made, other = build(), replica_set("other", 1, image="x")
    made["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:09Z"}
    assert revisions.find_new(deployment(), [other, made]) is made
    assert revisions.find_old(made, [other, made]) == [other]
    assert revisions.find_new(deployment(image="y"), [other, made]) is None


def test_going_back_takes_a_new_number_and_remembers_the_old_one() -> None:
    back = replica_set("back", 0)
    annotations = revisions.new_annotations(deployment(), back, 3)
    assert annotations[revisions.REVISION] == "3"
    assert annotations[revisions.REVISION_HISTORY] == "1"
    back["metadata"]["annotations"] = annotations
    again = revisions.new_annotations(deployment(), back, 5)
    assert again[revisions.REVISION_HISTORY] == "1,3"


def test_a_users_annotations_are_copied_but_not_kubectls_bookkeeping() -> None:
    wanted = deployment()
    wanted["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "because",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    annotations = revisions.new_annotations(wanted, replica_set("one", 0), 1)
    assert annotations["kubernetes.io/change-cause"] == "because"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations


def test_only_empty_sets_beyond_the_limit_are_forgotten() -> None:
    old = []
    for number in range(4):
        each = replica_set(f"r{number}", 0)
        each["metadata"]["annotations"][revisions.REVISION] = str(number)
        old.append(each)
    busy = copy.deepcopy(old[1])
    busy["status"]["replicas"] = 1
    forgotten = revisions.forgettable(deployment(revisionHistoryLimit=2), [old[3], busy, old[0], old[2]])
    assert [each["metadata"]["name"] for each in forgotten] == ["r0"]
    assert revisions.forgettable(deployment(revisionHistoryLimit=None), old) == []
