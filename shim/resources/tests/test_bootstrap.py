"""What a fresh cluster holds."""

from __future__ import annotations

from shim.api.meta import Object
from shim.resources.bootstrap import objects
from shim.resources.bootstrap.rules import rules
from shim.resources.strategy import Strategy
from shim.resources.table import find


def held(resource: str, name: str) -> Object:
    return next(obj for gvr, _, obj in objects() if gvr.resource == resource and obj["metadata"]["name"] == name)


def test_a_line_of_text_is_a_rule() -> None:
    assert rules("read | core apps | pods deployments | a\nget | /healthz") == [
        {"verbs": ["get", "list", "watch"], "apiGroups": ["", "apps"], "resources": ["pods", "deployments"]}
        | {"resourceNames": ["a"]},
        {"verbs": ["get"], "nonResourceURLs": ["/healthz"]},
    ]


def test_masters_may_everything() -> None:
    assert held("clusterroles", "cluster-admin")["rules"][0] == {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert [each["name"] for each in held("clusterrolebindings", "cluster-admin")["subjects"]] == ["system:masters"]


def test_admin_contains_edit_contains_view() -> None:
    admin, edit, view = (held("clusterroles", name)["rules"] for name in ("admin", "edit", "view"))
    assert all(rule in edit for rule in view)
    assert all(rule in admin for rule in edit)
    assert not any("secrets" in rule["resources"] for rule in view)


def test_every_binding_names_a_role_that_exists() -> None:
    names = {(gvr.resource, namespace, obj["metadata"]["name"]) for gvr, namespace, obj in objects()}
    for gvr, namespace, obj in objects():
        if gvr.resource == "clusterrolebindings":
            assert ("clusterroles", None, obj["roleRef"]["name"]) in names
        elif gvr.resource == "rolebindings":
            assert ("roles", namespace, obj["roleRef"]["name"]) in names


def test_everything_is_valid_and_comes_once() -> None:
    found = objects()
    assert len({(gvr, namespace, obj["metadata"]["name"]) for gvr, namespace, obj in found}) == len(found)
    for gvr, _, obj in found:
        row = find(gvr.group, gvr.version, gvr.resource)
        assert row is not None
        assert isinstance(row.strategy, Strategy)
        assert row.strategy.validate(obj) == [] or obj["metadata"]["name"].startswith("system-"), obj["metadata"][
            "name"
        ]
