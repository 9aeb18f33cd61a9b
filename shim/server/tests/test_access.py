"""Who may do what: certificates, tokens, impersonation, roles."""

from __future__ import annotations

import time

import pytest

from shim.server import authn

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
ALICE = {"Impersonate-User": "alice"}


async def _allow(api, user, *verbs, resources=("configmaps",)):
    rules = [{"apiGroups": [""], "resources": list(resources), "verbs": list(verbs)}]
    assert (await api.post(f"{RBAC}/roles", {"metadata": {"name": "r"}, "rules": rules})).status == 201
    subjects = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": subjects}
    assert (await api.post(f"{RBAC}/rolebindings", binding)).status == 201


async def test_anonymous_sees_health_and_version_and_nothing_else(api):
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await api.get(path, anonymous=True)).status == 200
    refused = await api.get(CONFIGMAPS, anonymous=True)
    assert refused.status == 403
    assert refused.message == (
        f'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" '
        f'in the namespace "{api.namespace}"'
    )
    path = await api.get("/metrics", anonymous=True)
    assert path.message == 'forbidden: User "system:anonymous" cannot get path "/metrics"'


async def test_only_the_documents_named_by_the_role_are_open_to_everyone(api):
    for path in ("/healthz/ping", "/livez/etcd", "/version/x"):
        assert (await api.get(path, anonymous=True)).status == 403


async def test_a_certificate_ends_also_on_a_connection_that_is_open(api, monkeypatch):
    assert (await api.get("/api/v1/nodes")).status == 200
    later = time.time() + 2 * 365 * 86400
    monkeypatch.setattr(authn, "time", lambda: later)
    assert (await api.get("/api/v1/nodes")).status == 401


async def test_a_bad_token_is_unauthorized(api):
    answer = await api.get(CONFIGMAPS, anonymous=True, headers={"Authorization": "Bearer bogus"})
    assert answer.status == 401


async def test_a_role_takes_effect_at_once_and_ceases_at_once(api):
    assert (await api.get(CONFIGMAPS, headers=ALICE)).status == 403
    await _allow(api, "alice", "list")
    assert (await api.get(CONFIGMAPS, headers=ALICE)).status == 200
    assert (await api.post(CONFIGMAPS, api.configmap("a"), headers=ALICE)).status == 403
    await api.delete(f"{RBAC}/rolebindings/b")
    assert (await api.get(CONFIGMAPS, headers=ALICE)).status == 403


async def test_a_binding_to_a_role_that_is_missing_says_so(api):
    await _allow(api, "alice", "list")
    await api.delete(f"{RBAC}/roles/r")
    answer = await api.get(CONFIGMAPS, headers=ALICE)
    assert answer.message.endswith(': RBAC: role.rbac.authorization.k8s.io "r" not found')


async def _token(api, **spec):
    request = {"spec": {"expirationSeconds": 600, **spec}}
    made = await api.post("/api/v1/namespaces/{ns}/serviceaccounts/default/token", request)
    assert made.status == 201
    return made.json["status"]["token"]


async def test_a_service_account_token_works_until_its_account_goes(api):
    bearer = {"Authorization": f"Bearer {await _token(api)}"}
    who = await api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, anonymous=True, headers=bearer)
    assert who.json["status"]["userInfo"]["username"] == f"system:serviceaccount:{api.namespace}:default"
    await api.delete("/api/v1/namespaces/{ns}/serviceaccounts/default")
    assert (await api.get(CONFIGMAPS, anonymous=True, headers=bearer)).status == 401


async def test_a_token_bound_to_a_pod_goes_with_it(api):
    await api.post("/api/v1/namespaces/{ns}/pods", api.pod("p"))
    token = await _token(api, boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "p"})
    review = {"spec": {"token": token}}
    reviewed = (await api.post("/apis/authentication.k8s.io/v1/tokenreviews", review)).json["status"]
    assert reviewed["authenticated"]
    assert reviewed["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    await api.delete("/api/v1/namespaces/{ns}/pods/p")
    gone = (await api.post("/apis/authentication.k8s.io/v1/tokenreviews", review)).json["status"]
    assert not gone.get("authenticated")


async def test_access_reviews(api):
    await _allow(api, "alice", "get")
    attributes = {"namespace": api.namespace, "verb": "get", "resource": "configmaps"}
    review = {"spec": {"resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1"
    mine = (await api.post(f"{path}/selfsubjectaccessreviews", review, headers=ALICE)).json["status"]
    why = f'RBAC: allowed by RoleBinding "b/{api.namespace}" of Role "r" to User "alice"'
    assert mine == {"allowed": True, "reason": why}
    other = {"spec": {"user": "bob", "resourceAttributes": attributes}}
    assert (await api.post(f"{path}/subjectaccessreviews", other)).json["status"] == {"allowed": False}
    rules = await api.post(f"{path}/selfsubjectrulesreviews", {"spec": {"namespace": api.namespace}}, headers=ALICE)
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]} in rules.json["status"]["resourceRules"]


async def test_a_master_is_told_also_what_everyone_may(api):
    question = {"spec": {"namespace": api.namespace}}
    rules = (await api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", question)).json["status"]
    assert rules["resourceRules"][0] == {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert [each["resources"] for each in rules["resourceRules"][1:]] == [
        ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        ["selfsubjectreviews"],
    ]
    assert ["/healthz", "/livez", "/readyz", "/version", "/version/"] in [
        each["nonResourceURLs"] for each in rules["nonResourceRules"]
    ]


PODS = {"namespace": "here", "verb": "get", "resource": "pods"}
PATH = {"path": "/x", "verb": "get"}
SHOWN = 'spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: '
SELECTOR = "spec.resourceAttributes.labelSelector"


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        (
            {"resourceAttributes": PODS, "nonResourceAttributes": PATH},
            [
                f"{SHOWN}cannot be specified in combination with resourceAttributes",
                f"{SHOWN}disallowed on this kind of request",
            ],
        ),
        ({"nonResourceAttributes": PATH}, [f"{SHOWN}disallowed on this kind of request"]),
        (
            {"resourceAttributes": {**PODS, "namespace": "x"}},
            [
                'spec.resourceAttributes.namespace: Invalid value: "x": must match metadata.namespace',
            ],
        ),
        (
            {"resourceAttributes": {**PODS, "labelSelector": {}}},
            [
                f"{SELECTOR}.requirements: Required value: when {SELECTOR} is specified, "
                "requirements or rawSelector is required",
            ],
        ),
        (
            {
                "resourceAttributes": {
                    **PODS,
                    "fieldSelector": {
                        "requirements": [
                            {"operator": "In"},
                            {"key": "a", "operator": "Exists", "values": ["b"]},
                            {"key": "a", "operator": "New"},
                        ]
                    },
                }
            },
            [
                "spec.resourceAttributes.fieldSelector.requirements[0].key: Required value: must be specified",
                "spec.resourceAttributes.fieldSelector.requirements[0].values: Required value: must be specified when "
                "`operator` is 'In' or 'NotIn'",
                "spec.resourceAttributes.fieldSelector.requirements[1].values: Forbidden: may not be specified when "
                "`operator` is 'Exists' or 'DoesNotExist'",
            ],
        ),
        (
            {"resourceAttributes": {**PODS, "labelSelector": {"requirements": [{"key": "a", "operator": "In"}]}}},
            [
                f"{SELECTOR}.requirements[0].values: Required value: must be specified when `operator` is 'In' or "
                "'NotIn'",
            ],
        ),
        (
            {"resourceAttributes": {**PODS, "labelSelector": {"rawSelector": "a", "requirements": [{"key": "a"}]}}},
            [
                f'{SELECTOR}.rawSelector: Invalid value: "a": may not specified at the same time as requirements',
            ],
        ),
    ],
)
async def test_a_question_about_one_namespace_must_be_one(api, spec, causes):
    here = {"namespace": api.namespace}
    asked = {name: part | (here if part.get("namespace") == "here" else {}) for name, part in spec.items()}
    path = "/apis/authorization.k8s.io/v1/namespaces/{ns}/localsubjectaccessreviews"
    refused = await api.post(path, {"spec": {"user": "bob", **asked}})
    assert refused.status == 422
    told = causes[0] if len(causes) == 1 else f"[{', '.join(causes)}]"
    assert refused.message == f'.authorization.k8s.io "" is invalid: {told}'


@pytest.mark.parametrize(
    ("selectors", "told"),
    [
        ({"fieldSelector": {"rawSelector": "a=b"}}, None),
        (
            {"fieldSelector": {"rawSelector": "!"}, "labelSelector": {"rawSelector": "!!"}},
            "spec.resourceAttributes.fieldSelector ignored due to parse error; "
            "spec.resourceAttributes.labelSelector ignored due to parse error",
        ),
        (
            {
                "fieldSelector": {
                    "requirements": [
                        {"key": "a", "operator": "In", "values": ["b"]},
                        {"key": "a", "operator": "Exists"},
                    ]
                }
            },
            "spec.resourceAttributes.fieldSelector partially ignored due to parse error",
        ),
        (
            {"labelSelector": {"requirements": [{"key": "a", "operator": "New"}]}},
            "spec.resourceAttributes.labelSelector ignored due to parse error",
        ),
    ],
)
async def test_selectors_that_are_not_understood_are_told(api, selectors, told):
    path = "/apis/authorization.k8s.io/v1/namespaces/{ns}/localsubjectaccessreviews"
    attributes = {"namespace": api.namespace, "verb": "list", "resource": "pods", **selectors}
    answer = await api.post(path, {"spec": {"user": "bob", "resourceAttributes": attributes}})
    assert answer.json["status"].get("evaluationError") == told
    assert answer.json["metadata"]["namespace"] == api.namespace


async def test_a_question_has_no_name(api):
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    refused = await api.post(path, {"metadata": {"name": "x"}, "spec": {"nonResourceAttributes": PATH}})
    assert (refused.status, refused.json["details"]["causes"][0]["field"]) == (422, "metadata")
    elsewhere = {"metadata": {"namespace": "elsewhere"}, "spec": {"user": "bob", "resourceAttributes": PODS}}
    refused = await api.post("/apis/authorization.k8s.io/v1/namespaces/{ns}/localsubjectaccessreviews", elsewhere)
    said = "the namespace of the provided object does not match the namespace sent on the request"
    assert (refused.status, refused.message) == (400, said)


async def test_reviews_are_born_like_objects(api):
    """What no created object can be given is dropped, before it is asked whether there is any metadata."""
    metadata = {"uid": "u", "namespace": "other", "selfLink": "/x", "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
    path = "/apis/authorization.k8s.io/v1"
    made = await api.post(f"{path}/selfsubjectaccessreviews", {"metadata": metadata, "spec": spec})
    assert (made.status, made.json["metadata"].keys()) == (201, {"managedFields"})
    named = {"metadata": {**metadata, "name": "n", "labels": {"a": "b"}}, "spec": {"namespace": "default"}}
    assert (await api.post(f"{path}/selfsubjectrulesreviews", named)).json["metadata"] == {}
