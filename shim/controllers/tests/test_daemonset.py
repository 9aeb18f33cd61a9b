"""Daemons: which nodes have one, and how they are replaced."""

from __future__ import annotations

import json
from typing import Any

from shim.api.meta import Object, parse_time
from shim.controllers.daemonset_plan import (
    by_node,
    daemon_template,
    eligibility,
    node_of,
    pinned,
    plan_placement,
    plan_status,
    plan_update,
)
from shim.controllers.history import template_patch
from shim.controllers.tests.builders import NOW, node, pod, template

AT = parse_time(NOW)


def daemon_set(**spec: Any) -> Object:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "ns", "uid": "uid-d", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template(), "updateStrategy": rolling, **spec},
    }


def daemon(name: str, on: str, revision: str = "new", **more: Any) -> Object:
    return pod(name, node=on, labels={"app": "a", "controller-revision-hash": revision}, **more)


def names(pods: list[Object]) -> list[str]:
    return sorted(each["metadata"]["name"] for each in pods)


def place(nodes: list[Object], pods: list[Object], **spec: Any) -> tuple[list[str], list[str]]:
    plan = plan_placement(daemon_set(**spec), nodes, by_node(pods), "new", set(), AT)
    return plan.create, names(plan.delete)


def test_one_on_every_node() -> None:
    nodes = [node("n1"), node("n2")]
    assert place(nodes, []) == (["n1", "n2"], [])
    assert place(nodes, [daemon("a", "n1"), daemon("b", "n1", created=NOW)]) == (["n2"], ["b"])


def test_taints_and_selectors_keep_daemons_away() -> None:
    tainted = node("n1", taints=[{"key": "x", "effect": "NoSchedule"}])
    assert eligibility(daemon_set(), tainted) == (False, True)
    assert eligibility(daemon_set(), node("n1", taints=[{"key": "x", "effect": "NoExecute"}])) == (False, False)
    trouble = node("n1", taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}])
    assert eligibility(daemon_set(), trouble) == (True, True)
    picky = template()
    picky["spec"]["nodeSelector"] = {"disk": "ssd"}
    assert eligibility(daemon_set(template=picky), node("n1")) == (False, False)
    assert eligibility(daemon_set(template=picky), node("n1", {"disk": "ssd"})) == (True, True)
    assert place([node("n1")], [daemon("a", "n1")], template=picky) == ([], ["a"])


def test_a_daemon_is_pinned_to_its_node_and_tolerates_trouble() -> None:
    made = pinned(daemon_template(daemon_set(), "hash"), "n1")
    assert made["metadata"]["labels"]["controller-revision-hash"] == "hash"
    assert len(made["spec"]["tolerations"]) == 6
    unplaced = pod("p", node="")
    unplaced["spec"]["affinity"] = made["spec"]["affinity"]
    assert node_of(unplaced) == "n1"


def test_what_failed_is_replaced_and_what_is_nearly_gone_already_was() -> None:
    nodes = [node("n1")]
    assert place(nodes, [daemon("a", "n1", phase="Failed")]) == ([], ["a"])
    assert place(nodes, [daemon("a", "n1", phase="Failed", deleted=True)]) == (["n1"], [])
    assert place(nodes, [daemon("a", "n1", deleted=True)]) == ([], [])
    waiting = plan_placement(daemon_set(), nodes, by_node([daemon("a", "n1", phase="Failed")]), "new", {"n1"}, AT)
    assert (waiting.create, waiting.delete) == ([], [])


def update(pods: list[Object], **spec: Any) -> tuple[list[str], list[str]]:
    nodes = [node(f"n{number}") for number in (1, 2, 3)]
    plan = plan_update(daemon_set(**spec), nodes, by_node(pods), "new", AT)
    return plan.create, names(plan.delete)


def test_old_ones_go_one_at_a_time() -> None:
    old = [daemon(f"o{number}", f"n{number}", "old") for number in (1, 2, 3)]
    assert update(old) == ([], ["o1"])
    assert update([daemon("w1", "n1", ready=False), *old[1:]]) == ([], [])
    assert update([daemon("w1", "n1"), *old[1:]]) == ([], ["o2"])


def test_old_ones_that_do_not_work_go_at_once() -> None:
    broken = [daemon(f"o{number}", f"n{number}", "old", ready=False) for number in (1, 2, 3)]
    assert update(broken) == ([], ["o1", "o2", "o3"])


def test_with_surge_the_new_one_comes_first() -> None:
    surge = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
    old = [daemon(f"o{number}", f"n{number}", "old") for number in (1, 2, 3)]
    assert update(old, **surge) == (["n1"], [])
    assert update([*old, daemon("w1", "n1", ready=False)], **surge) == ([], [])
    assert update([*old, daemon("w1", "n1")], **surge) == (["n2"], ["o1"])


def test_on_delete_waits_for_the_user() -> None:
    assert update([daemon("o1", "n1", "old")], updateStrategy={"type": "OnDelete"}) == ([], [])


def test_status() -> None:
    nodes = [node("n1"), node("n2"), node("n3", taints=[{"key": "x", "effect": "NoSchedule"}])]
    pods = by_node([daemon("a", "n1"), daemon("b", "n2", "old", ready=False), daemon("c", "n3")])
    assert plan_status(daemon_set(), nodes, pods, "new", AT) == {
        "currentNumberScheduled": 2,
        "desiredNumberScheduled": 2,
        "numberMisscheduled": 1,
        "numberReady": 1,
        "observedGeneration": 1,
        "updatedNumberScheduled": 1,
        "numberAvailable": 1,
        "numberUnavailable": 1,
    }


def test_the_bytes_of_a_revision_do_not_depend_on_how_the_template_was_written() -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "dnsPolicy": "Default"}
    turned = {"dnsPolicy": "Default", "containers": [{"image": "i", "name": "c"}]}
    one, other = (template_patch({"spec": {"template": {"spec": each}}}) for each in (spec, turned))
    assert json.dumps(one) == json.dumps(other)
    assert list(one["spec"]["template"]) == ["$patch", "spec"]
