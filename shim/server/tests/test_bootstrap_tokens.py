"""Who brings a bootstrap token is let in by it, and only while it is good."""

from __future__ import annotations

import base64

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
SECRETS = "/api/v1/namespaces/kube-system/secrets"
TYPE = "bootstrap.kubernetes.io/token"


async def _store(api, token_id, **data):
    said = {"token-id": token_id, "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", **data}
    secret = {"metadata": {"name": f"bootstrap-token-{token_id}"}, "type": TYPE, "stringData": said}
    assert (await api.post(SECRETS, secret)).status == 201
    return {"Authorization": f"Bearer {token_id}.0123456789abcdef"}


async def _who(api, headers):
    answer = await api.post(WHO, {}, anonymous=True, headers=headers)
    return answer.json["status"]["userInfo"] if answer.status == 201 else answer.status


async def test_a_bootstrap_token_names_its_user_and_groups(api):
    group = "system:bootstrappers:kubeadm:default-node-token"
    bearer = await _store(api, "aaaaa1", **{"auth-extra-groups": group})
    groups = ["system:bootstrappers", group, "system:authenticated"]
    assert await _who(api, bearer) == {"username": "system:bootstrap:aaaaa1", "groups": groups}
    review = {"spec": {"token": "aaaaa1.0123456789abcdef"}}
    reviewed = (await api.post("/apis/authentication.k8s.io/v1/tokenreviews", review)).json["status"]
    assert reviewed["authenticated"]
    assert (await api.get(SECRETS, anonymous=True, headers=bearer)).status == 403
    await api.delete(f"{SECRETS}/bootstrap-token-aaaaa1")
    assert await _who(api, bearer) == 401


async def test_a_token_that_is_not_good_is_refused(api):
    good = await _store(api, "aaaaa2")
    wrong = [
        {"Authorization": "Bearer aaaaa2.0123456789abcdee"},
        {"Authorization": "Bearer aaaaa2."},
        await _store(api, "aaaaa3", expiration="2020-01-01T00:00:00Z"),
        await _store(api, "aaaaa4", **{"usage-bootstrap-authentication": "false"}),
        await _store(api, "aaaaa5", **{"auth-extra-groups": "system:masters"}),
        await _store(api, "aaaaa6", **{"token-id": "aaaaa2"}),
    ]
    assert [await _who(api, headers) for headers in wrong] == [401] * len(wrong)
    assert (await _who(api, good))["username"] == "system:bootstrap:aaaaa2"
    listed = await api.get(f"{SECRETS}?fieldSelector=type%3D{TYPE}")
    assert len(listed.json["items"]) == 5
    assert base64.b64decode(listed.json["items"][0]["data"]["token-id"]) == b"aaaaa2"
