"""Which schema is a request's, and which queues its flow's."""

from __future__ import annotations

import pytest

from shim.resources.bootstrap import flow as bootstrap
from shim.server.flowcontrol.classify import FlowSchema, hash_of, in_order, matches, schema_of
from shim.server.flowcontrol.queues import deal
from shim.server.routes import parse
from shim.server.users import ANONYMOUS, AUTHENTICATED, MASTERS, NODES, User, account_groups

ALICE = User("alice", ("team", AUTHENTICATED))
BOT = User("system:serviceaccount:apps:bot", account_groups("apps"))
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
LEASE = "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"
PODS = parse("GET", "/api/v1/namespaces/apps/pods")


def _subject(kind: str, **named: str) -> dict[str, object]:
    return {"kind": kind, f"{kind[0].lower()}{kind[1:]}": named}


@pytest.mark.parametrize(
    ("subject", "user", "is_meant"),
    [
        (_subject("User", name="alice"), ALICE, True),
        (_subject("User", name="bob"), ALICE, False),
        (_subject("User", name="*"), ANONYMOUS, True),
        (_subject("Group", name="team"), ALICE, True),
        (_subject("Group", name="alice"), ALICE, False),
        (_subject("Group", name="*"), ALICE, True),
        (_subject("ServiceAccount", namespace="apps", name="bot"), BOT, True),
        (_subject("ServiceAccount", namespace="apps", name="*"), BOT, True),
        (_subject("ServiceAccount", namespace="app", name="*"), BOT, False),
        (_subject("ServiceAccount", namespace="apps", name="bo"), BOT, False),
        (_subject("ServiceAccount", namespace="apps", name="*"), ALICE, False),
    ],
)
def test_who_is_meant(subject: dict[str, object], user: User, is_meant: bool) -> None:
    assert matches({"subjects": [subject], "resourceRules": [EVERYTHING]}, user, PODS) is is_meant


@pytest.mark.parametrize(
    ("rule", "asked", "is_meant"),
    [
        ({}, "GET /api/v1/namespaces/apps/pods", True),
        ({"verbs": ["get"]}, "GET /api/v1/namespaces/apps/pods", False),
        ({"verbs": ["get", "list"]}, "GET /api/v1/namespaces/apps/pods", True),
        ({"resources": ["pods"]}, "GET /api/v1/namespaces/apps/pods/a/status", False),
        ({"resources": ["pods/status"]}, "GET /api/v1/namespaces/apps/pods/a/status", True),
        ({"apiGroups": [""]}, "GET /apis/apps/v1/namespaces/apps/deployments", False),
        ({"namespaces": ["apps"]}, "GET /api/v1/namespaces/apps/pods", True),
        ({"namespaces": ["apps"]}, "GET /api/v1/namespaces/other/pods", False),
        ({"clusterScope": False}, "GET /api/v1/nodes", False),
        ({"clusterScope": False}, "GET /api/v1/pods", False),
        ({"namespaces": []}, "GET /api/v1/nodes", True),
        ({}, "GET /apis", False),
    ],
)
def test_what_is_meant(rule: dict[str, object], asked: str, is_meant: bool) -> None:
    whole = {"subjects": [_subject("User", name="*")], "resourceRules": [{**EVERYTHING, **rule}]}
    assert matches(whole, ALICE, parse(*asked.split())) is is_meant


@pytest.mark.parametrize(
    ("url", "path", "is_meant"),
    [
        ("*", "/anything", True),
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/etcd", True),
        ("/healthz", "/healthzz", False),
        ("/healthz/*", "/healthz/etcd", True),
        ("/healthz/*", "/healthz", False),
        ("/healthz", "/livez", False),
    ],
)
def test_which_paths_are_meant(url: str, path: str, is_meant: bool) -> None:
    paths = {"verbs": ["get"], "nonResourceURLs": [url]}
    rule = {"subjects": [_subject("User", name="*")], "nonResourceRules": [paths]}
    assert matches(rule, ALICE, parse("GET", path)) is is_meant
    assert not matches(rule, ALICE, parse("POST", path))


@pytest.mark.parametrize(
    ("user", "asked", "schema"),
    [
        (User("root", (MASTERS,)), "GET /api/v1/pods", "exempt"),
        (ALICE, "GET /livez", "probes"),
        (ALICE, "GET /metrics", "global-default"),
        (User("system:node:a", (NODES, AUTHENTICATED)), "GET /api/v1/nodes/a", "system-node-high"),
        (User("system:node:a", (NODES, AUTHENTICATED)), "GET /api/v1/pods", "system-nodes"),
        (
            User("system:kube-scheduler"),
            "PUT /apis/coordination.k8s.io/v1/namespaces/a/leases/b",
            "system-leader-election",
        ),
        (User("system:kube-scheduler"), f"PUT {LEASE}", "system-leader-election"),
        (User("system:kube-scheduler"), f"PATCH {LEASE}", "kube-scheduler"),
        (User("system:serviceaccount:kube-system:x"), "GET /api", "kube-system-service-accounts"),
        (BOT, "GET /api/v1/pods", "service-accounts"),
        (ALICE, "GET /api/v1/pods", "global-default"),
        (User("nobody"), "GET /api/v1/pods", "catch-all"),
    ],
)
def test_schemas_of_a_fresh_cluster(user: User, asked: str, schema: str) -> None:
    objects = [obj for gvr, _, obj in bootstrap.objects("") if gvr is bootstrap.FLOW_SCHEMAS]
    assert schema_of(user, parse(*asked.split()), in_order(map(FlowSchema.of, objects))).name == schema


def test_the_first_by_precedence_and_name_is_taken() -> None:
    rules = [{"subjects": [_subject("User", name="*")], "resourceRules": [EVERYTHING]}]
    made = [FlowSchema(name, "", number, "l", "", rules) for name, number in (("c", 5), ("b", 5), ("a", 6))]
    assert [each.name for each in in_order(made)] == ["b", "c", "a"]
    assert schema_of(ALICE, PODS, in_order(made)).name == "b"


def test_flows_are_told_apart_as_the_schema_says() -> None:
    by = {kind: FlowSchema("s", "", 1, "l", kind, ()) for kind in ("ByUser", "ByNamespace", "")}
    assert [schema.distinguish(ALICE, PODS) for schema in by.values()] == ["alice", "apps", ""]


def test_a_flow_has_the_queues_that_it_has_with_upstream() -> None:
    assert hash_of("s", "a") != hash_of("s", "b") != hash_of("sb", "")
    assert hash_of("global-default", "alice") < 1 << 64


@pytest.mark.parametrize(("deck", "hand"), [(1, 1), (4, 4), (128, 6), (64, 8)])
def test_a_hand_has_different_cards(deck: int, hand: int) -> None:
    dealt = [deal(hash_of("s", str(number)), deck, hand) for number in range(300)]
    assert all(len(set(cards)) == hand and set(cards) <= set(range(deck)) for cards in dealt)
    assert {card for cards in dealt for card in cards} == set(range(deck))  # and none is never dealt


def test_every_hand_is_as_likely() -> None:
    assert len({deal(number, 5, 3) for number in range(5 * 4 * 3)}) == 5 * 4 * 3
