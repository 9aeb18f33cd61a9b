"""Nobody gives away what they have not, by whatever way roles and bindings are written."""

from __future__ import annotations

import pytest

from shim.server.tests.test_impersonation import _as, _grant

RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"
SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
EDITOR = {
    "apiGroups": [GROUP],
    "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
    "verbs": ["*"],
}


@pytest.fixture
def me(api):
    return f'user "system:serviceaccount:{api.namespace}:default" '


async def _editor(api, *rules):
    """The account edits roles, but may neither escalate nor bind; it holds these rules."""
    verbs = ["get", "list", "create", "update", "patch", "delete"]
    await _grant(api, f"editor-{api.namespace}", {**EDITOR, "verbs": verbs}, *rules)


async def _ask(api, method, path, body, kind="application/json"):
    made = await api.post("/api/v1/namespaces/{ns}/serviceaccounts/default/token", {"spec": {}})
    headers = {"Authorization": f"Bearer {made.json['status']['token']}"}
    return await api.ask(method, path, body, anonymous=True, headers=headers, content=kind)


def _binding(kind, role, name="b"):
    subjects = [{"kind": "User", "apiGroup": GROUP, "name": "bob"}]
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
        "subjects": subjects,
    }


async def test_a_role_holds_only_what_its_writer_holds(api, me):
    await _editor(api, MAPS)
    roles = f"{RBAC}/namespaces/{{ns}}/roles"
    assert (
        await _ask(api, "POST", roles, {"metadata": {"name": "fine"}, "rules": [{**MAPS, "verbs": ["get"]}]})
    ).status == 201
    wide = {
        "apiGroups": ["", "apps"],
        "resources": ["secrets", "configmaps"],
        "verbs": ["get", "delete"],
        "resourceNames": ["a"],
    }
    refused = await _ask(api, "POST", roles, {"metadata": {"name": "r"}, "rules": [wide]})
    groups = f'(groups=["system:serviceaccounts" "system:serviceaccounts:{api.namespace}" "system:authenticated"])'
    assert refused.status == 403
    assert refused.message == (
        f'roles.rbac.authorization.k8s.io "r" is forbidden: {me}{groups} is attempting to grant RBAC permissions not '
        "currently held:\n"
        '{APIGroups:[""], Resources:["configmaps"], ResourceNames:["a"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get" "delete"]}\n'
        '{APIGroups:["apps"], Resources:["configmaps"], ResourceNames:["a"], Verbs:["get" "delete"]}\n'
        '{APIGroups:["apps"], Resources:["secrets"], ResourceNames:["a"], Verbs:["get" "delete"]}'
    )
    urls = {"nonResourceURLs": ["/x", "/y/*"], "verbs": ["get", "post"]}
    refused = await _ask(api, "POST", f"{RBAC}/clusterroles", {"metadata": {"name": "r"}, "rules": [urls]})
    assert [line.partition("[")[2] for line in refused.message.splitlines()[1:]] == [
        '"/x"], Verbs:["get"]}', '"/x"], Verbs:["post"]}', '"/y/*"], Verbs:["get"]}', '"/y/*"], Verbs:["post"]}',
    ]  # fmt: skip
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    merge, apply = "application/merge-patch+json", "application/apply-patch+yaml"
    applied = {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": {"name": "fine"}, "rules": [everything]}
    ways = [
        ("PUT", f"{roles}/fine", {"metadata": {"name": "fine"}, "rules": [everything]}, "application/json"),
        ("PUT", f"{roles}/new", {"metadata": {"name": "new"}, "rules": [everything]}, "application/json"),
        ("PATCH", f"{roles}/fine", {"rules": [everything]}, merge),
        ("PATCH", f"{roles}/fine?fieldManager=m&force=true", applied, apply),
        ("PATCH", f"{roles}/new?fieldManager=m", {**applied, "metadata": {"name": "new"}}, apply),
        ("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "c"}, "rules": [everything]}, "application/json"),
    ]
    for method, path, body, kind in ways:
        answer = await _ask(api, method, path, body, kind)
        assert (answer.status, "not currently held" in answer.message) == (403, True), (method, path, answer.data)
    aggregated = {"metadata": {"name": "c"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    answer = await _ask(api, "POST", f"{RBAC}/clusterroles", aggregated)
    assert answer.message.endswith("must have cluster-admin privileges to use the aggregationRule")
    answer = await _ask(api, "PUT", f"{RBAC}/clusterroles/view", {"metadata": {"name": "view"}, "rules": [everything]})
    assert "not currently held" in answer.message  # which is told before what its rule of aggregation asks
    labels = await _ask(api, "PATCH", f"{roles}/fine", {"metadata": {"labels": {"a": "b"}}}, merge)
    assert labels.status == 200


async def test_a_binding_gives_only_what_its_writer_holds(api):
    await _editor(api, MAPS)
    bindings = f"{RBAC}/namespaces/{{ns}}/rolebindings"
    for path, name in (
        (bindings, "cluster-admin"),
        (bindings, "view"),
        (f"{RBAC}/clusterrolebindings", "cluster-admin"),
    ):
        answer = await _ask(api, "POST", path, _binding("ClusterRole", name))
        assert (answer.status, "not currently held" in answer.message) == (403, True)
    answer = await _ask(api, "PUT", f"{bindings}/b", _binding("ClusterRole", "cluster-admin"))
    assert answer.status == 403
    missing = await _ask(api, "POST", bindings, _binding("Role", "nope"))
    assert (missing.status, missing.message) == (404, f'rolebindings.{GROUP} "nope" not found')
    nowhere = await _ask(api, "POST", f"{RBAC}/clusterrolebindings", _binding("Role", "nope"))
    assert (nowhere.status, nowhere.message) == (400, "Namespace parameter required.")
    await api.post(f"{RBAC}/namespaces/{{ns}}/roles", {"metadata": {"name": "maps"}, "rules": [MAPS]})
    assert (await _ask(api, "POST", bindings, _binding("Role", "maps"))).status == 201
    assert (await _as(api, {}, "/api/v1/secrets")).status == 403


async def test_escalate_and_bind_are_rights_of_their_own(api):
    escalate = {"apiGroups": [GROUP], "resources": ["roles"], "verbs": ["escalate"]}
    bind = {"apiGroups": [GROUP], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["view"]}
    await _editor(api, escalate, bind)
    role = {"metadata": {"name": "r"}, "rules": [SECRETS]}
    assert (await _ask(api, "POST", f"{RBAC}/namespaces/{{ns}}/roles", role)).status == 201
    assert (await _ask(api, "POST", f"{RBAC}/clusterroles", role)).status == 403
    bindings = f"{RBAC}/namespaces/{{ns}}/rolebindings"
    assert (await _ask(api, "POST", bindings, _binding("ClusterRole", "view"))).status == 201
    assert (await _ask(api, "POST", bindings, _binding("ClusterRole", "edit", "c"))).status == 403
