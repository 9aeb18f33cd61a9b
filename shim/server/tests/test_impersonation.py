"""Acting as somebody else: what is asked for, in which order, and what is said to who may not."""

from __future__ import annotations

import pytest

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
JANE = {"Impersonate-User": "jane"}
GROUP = "authentication.k8s.io"


async def _grant(api, name, *rules):
    """A cluster role for jane, who is a bearer of a token: nobody impersonates twice."""
    await api.post(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": list(rules)})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": api.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    assert (await api.post(f"{RBAC}/clusterrolebindings", binding)).status == 201


async def _as(api, headers, path="/api/v1/namespaces"):
    made = await api.post("/api/v1/namespaces/{ns}/serviceaccounts/default/token", {"spec": {}})
    bearer = {"Authorization": f"Bearer {made.json['status']['token']}", **headers}
    return await api.get(path, anonymous=True, headers=bearer)


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ({"Impersonate-User": "bob"}, {"username": "bob", "groups": ["system:authenticated"]}),
        (
            {"Impersonate-User": "bob", "Impersonate-Group": "g", "Impersonate-Uid": "u"},
            {"username": "bob", "uid": "u", "groups": ["g", "system:authenticated"]},
        ),
        (
            {"Impersonate-User": "bob", "Impersonate-Extra-a%2Fb": "v"},
            {"username": "bob", "groups": ["system:authenticated"], "extra": {"a/b": ["v"]}},
        ),
        (
            {"Impersonate-User": "system:serviceaccount:ns:sa"},
            {
                "username": "system:serviceaccount:ns:sa",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
            },
        ),
        (
            {"Impersonate-User": "system:node:n1"},
            {"username": "system:node:n1", "groups": ["system:nodes", "system:authenticated"]},
        ),
        ({"Impersonate-User": "system:serviceaccount:x"}, {"username": "system:serviceaccount:x"}),
    ],
)
async def test_who_somebody_is_that_is_impersonated(api, headers, user):
    """By an account that has impersonated nobody yet: ways that were taken before are tried first."""
    await _grant(api, f"all-{api.namespace}", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
    made = await api.post("/api/v1/namespaces/{ns}/serviceaccounts/default/token", {"spec": {}})
    bearer = {"Authorization": f"Bearer {made.json['status']['token']}", **headers}
    said = (await api.post(WHO, {}, anonymous=True, headers=bearer)).json["status"]["userInfo"]
    assert {**said, **user} == said


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"Impersonate-Group": "x"}, 'UID:"", Groups:[]string{"x"}, Extra:map[string][]string(nil)'),
        ({"Impersonate-Uid": "x"}, 'UID:"x", Groups:[]string(nil), Extra:map[string][]string(nil)'),
        (
            {"Impersonate-Extra-Foo": "x"},
            'UID:"", Groups:[]string(nil), Extra:map[string][]string{"foo":[]string{"x"}}',
        ),
    ],
)
async def test_without_a_name_nobody_is_impersonated(api, headers, shown):
    answer = await api.get("/api/v1/nodes", headers=headers)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert answer.message == f'requested &user.DefaultInfo{{Name:"", {shown}}} without impersonating a user name'


async def test_the_narrow_way_needs_a_right_to_the_user_and_one_to_the_request(api):
    me = f'User "system:serviceaccount:{api.namespace}:default"'
    bob = {"Impersonate-User": "bob"}
    for name, way in (
        ("bob", "user-info"),
        ("system:node:n1", "arbitrary-node"),
        ("system:serviceaccount:a:b", "serviceaccount"),
    ):
        answer = await _as(api, {"Impersonate-User": name})
        said = f'namespaces is forbidden: {me} cannot impersonate-on:{way}:list resource "namespaces" in API group ""'
        assert answer.message == f"{said} at the cluster scope"
    on = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["impersonate-on:user-info:list"]}
    await _grant(api, f"on-{api.namespace}", on)
    assert 'users.authentication.k8s.io "bob" is forbidden' in (await _as(api, bob)).message
    whom = {"apiGroups": [GROUP], "resources": ["users"], "resourceNames": ["bob"], "verbs": ["impersonate:user-info"]}
    await _grant(api, f"whom-{api.namespace}", whom)
    assert (await _as(api, bob)).message.startswith('namespaces is forbidden: User "bob" cannot list')
    assert 'users.authentication.k8s.io "carol" is forbidden' in (await _as(api, {"Impersonate-User": "carol"})).message
    masters = await _as(api, {**bob, "Impersonate-Group": "system:masters"})
    assert masters.message.endswith("impersonating the system:masters group is not allowed")
    extra = await _as(api, {**bob, "Impersonate-Extra-Scopes": "view"})
    assert extra.message.endswith(
        'impersonating an invalid key in extra is not allowed: extra.key: Invalid value: "scopes": must be a '
        'domain-prefixed path (such as "acme.io/foo")'
    )
    every = {"apiGroups": [GROUP], "resources": ["userextras/*"], "resourceNames": ["*"], "verbs": whom["verbs"]}
    await _grant(api, f"every-{api.namespace}", every)
    values = {**bob, "Impersonate-Extra-a.b%2fc": "v"}
    assert 'userextras.authentication.k8s.io "v" is forbidden' in (await _as(api, values)).message
    many = {**bob, **{f"Impersonate-Extra-a.b%2f{number}": "v" for number in range(4)}}  # all are asked for at once
    assert (await _as(api, many)).message.startswith('namespaces is forbidden: User "bob" cannot list')
    pods = await _as(api, bob, "/api/v1/pods")  # not the request that was granted
    assert "cannot impersonate-on:user-info:list" in pods.message


async def test_the_wide_way_lets_everything_be_done(api):
    await _grant(
        api,
        f"wide-{api.namespace}",
        {"apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"], "verbs": ["impersonate"]},
    )
    assert (await _as(api, {"Impersonate-User": "bob"})).message.startswith('namespaces is forbidden: User "bob"')
    more = await _as(api, {"Impersonate-User": "bob", "Impersonate-Group": "system:masters"})
    assert more.status == 403
    assert 'cannot impersonate resource "groups"' in more.message  # the way that let this user before is tried first
    other = await _as(api, {"Impersonate-User": "system:node:n1"})
    assert 'cannot impersonate resource "users"' in other.message
