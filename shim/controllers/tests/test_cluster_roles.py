"""Roles made of roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.cluster_roles import ClusterRoleAggregation, aggregated
from shim.controllers.tests.cluster import cluster

GROUP = "rbac.authorization.k8s.io/v1"


def rule(resource: str) -> Object:
    return {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}


def role(name: str, *resources: str, labels: dict[str, str] | None = None, **more: Any) -> Object:
    rules = [rule(each) for each in resources]
    return {
        "apiVersion": GROUP,
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels or {}},
        "rules": rules,
        **more,
    }


WHOLE = role("whole", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"to": "whole"}}]})
PART = {"to": "whole"}


def test_rules_come_in_the_order_of_names_and_each_once() -> None:
    roles = [role("b", "pods", "nodes", labels=PART), role("a", "secrets", "pods", labels=PART), role("c", "events")]
    assert aggregated(WHOLE, roles) == [rule("secrets"), rule("pods"), rule("nodes")]


def test_a_role_is_no_part_of_itself() -> None:
    assert aggregated({**WHOLE, "metadata": {"name": "whole", "labels": PART}, "rules": [rule("pods")]}, [WHOLE]) == []


async def test_a_new_part_widens_the_whole_and_leaves_with_its_label(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c:
        await c.control(ClusterRoleAggregation)
        await c.client.create(r.CLUSTERROLES, WHOLE)
        await c.client.create(r.CLUSTERROLES, role("part", "pods", labels=PART))
        await c.until(r.CLUSTERROLES, "whole", lambda found: found["rules"] == [rule("pods")])
        await c.client.patch(r.CLUSTERROLES, "part", {"metadata": {"labels": None}})
        await c.until(r.CLUSTERROLES, "whole", lambda found: not found.get("rules"))
