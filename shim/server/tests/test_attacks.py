"""What an attacker would try: every way around who one is and what one may, and requests that are weapons.

Refused are they all, in upstream's words where those are known; and the server answers others meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import ssl

import orjson
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from shim.joining.certificates import CLIENT_USAGES, Wanted, _request
from shim.server.tests.test_impersonation import _grant

RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"
HIDDEN = "aGlkZGVu"  # of the secret that is not to be seen


async def _raw(api, data: bytes, wait: float = 10.0) -> bytes:
    """Send bytes as they are, from nobody, and read until the server ends the connection or falls silent."""
    context = ssl.create_default_context(cafile=str(api.directory / "pki" / "ca.crt"))
    host, port = api.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(data)
    answer = b""
    try:
        async with asyncio.timeout(wait):
            while chunk := await reader.read(65536):
                answer += chunk
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return answer


async def _bearer(api, account="default"):
    made = await api.post(f"/api/v1/namespaces/{{ns}}/serviceaccounts/{account}/token", {"spec": {}})
    return made.json["status"]["token"]


async def _raw_get(api, path: str, *headers: str) -> tuple[int, bytes]:
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    answer = await _raw(api, "\r\n".join(lines).encode() + b"\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def _may(api, *rules):
    """The account of this namespace holds these rules in it, and nothing else."""
    await api.post(f"{RBAC}/namespaces/{{ns}}/roles", {"metadata": {"name": "r"}, "rules": list(rules)})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": api.namespace}
    reference = {"apiGroup": GROUP, "kind": "Role", "name": "r"}
    binding = {"metadata": {"name": "r"}, "roleRef": reference, "subjects": [subject]}
    assert (await api.post(f"{RBAC}/namespaces/{{ns}}/rolebindings", binding)).status == 201


@pytest_asyncio.fixture(loop_scope="session")
async def other(api):
    """Another namespace, with a secret in it."""
    name = f"{api.namespace}-other"
    await api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    await api.post(f"/api/v1/namespaces/{name}/secrets", {"metadata": {"name": "s"}, "data": {"k": HIDDEN}})
    return name


PATHS = [
    "/api/v1/namespaces/{own}/secrets/../../{other}/secrets/s",
    "/api/v1/namespaces/{own}/../{other}/secrets/s",
    "/api/v1/namespaces/{own}/%2e%2e/{other}/secrets/s",
    "/api/v1/namespaces/{own}/secrets/..%2f..%2f{other}%2fsecrets%2fs",
    "/api/v1/namespaces/{own}%2f..%2f{other}/secrets/s",
    "//api/v1/namespaces/{other}/secrets/s",
    "/api//v1/namespaces/{other}/secrets/s",
    "/api/v1//namespaces/{other}/secrets",
    "/api/v1/namespaces/./{other}/secrets",
    "/api/v1/namespaces//secrets",
    "/healthz/../api/v1/namespaces/{other}/secrets/s",
    "/version/../api/v1/secrets",
    "/API/v1/namespaces/{other}/secrets/s",
    "/%61pi/v1/namespaces/{other}/secrets/s",
    "/api/v1/namespaces/{other}/secrets/s/",
    "/api/v1/namespaces/{other}/secrets;/s",
    "/api/v1/watch/namespaces/{other}/secrets",
    "/api/v1/namespaces/{own}/secrets/%00",
    "/api/v1/namespaces/{own}/secrets/s%2f..",
    "/api/v1/secrets?fieldSelector=metadata.namespace%3D{own}",
    "/api/v1/namespaces/{other}/secrets?fieldSelector=metadata.name%3Ds",
]


@pytest.mark.parametrize("path", PATHS)
async def test_no_path_leads_around_a_namespace(api, other, path):
    await _may(api, {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]})
    asked = path.format(own=api.namespace, other=other)
    code, body = await _raw_get(api, asked, f"Authorization: Bearer {await _bearer(api)}")
    assert code in (403, 404), body
    assert HIDDEN.encode() not in body
    assert body.strip() == b"404 page not found" or orjson.loads(body)["kind"] == "Status"


async def test_headers_make_nobody_somebody(api):
    for headers in (
        ["X-Remote-User: kubernetes-admin", "X-Remote-Group: system:masters"],
        ["Impersonate-User: kubernetes-admin", "Impersonate-Group: system:masters"],
        ["impersonate-user: system:admin"],
        ["Impersonate-User: system:node:n1"],
        ["Authorization: Basic YWRtaW46YWRtaW4="],
        ["Authorization: Bearer"],
        ["Authorization: Bearer null"],
        ["Authorization: Bearer a.b.c", "Authorization: Bearer x"],
        ["X-Forwarded-For: 127.0.0.1", "X-Original-URL: /healthz"],
        ["X-HTTP-Method-Override: GET"],
    ):
        code, _ = await _raw_get(api, "/api/v1/secrets", *headers)
        assert code in (401, 403), headers
    _, body = await _raw_get(api, "/api/v1/secrets", f"Authorization: Bearer  {await _bearer(api)}")
    assert b'User \\"system:anonymous\\"' in body  # a token stands behind one space
    _, body = await _raw_get(api, "/api/v1/secrets", f"Authorization: Bearer {await _bearer(api)} more")
    assert b'User \\"system:serviceaccount:' in body


async def test_a_token_of_an_account_that_was_made_again_is_not_its_token(api):
    token = await _bearer(api)
    await api.delete("/api/v1/namespaces/{ns}/serviceaccounts/default")
    await api.post("/api/v1/namespaces/{ns}/serviceaccounts", {"metadata": {"name": "default"}})
    code, _ = await _raw_get(api, "/api", f"Authorization: Bearer {token}")
    assert code == 401


async def test_rights_to_accounts_pods_and_requests_are_no_rights_to_more(api, other):
    """Every way to somebody else's identity asks for a right of its own."""
    await _may(api, {"apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": ["*"]})
    headers = {"Authorization": f"Bearer {await _bearer(api)}"}

    async def tried(path, body, method="POST"):
        return (await api.ask(method, path, body, anonymous=True, headers=headers)).status

    accounts = "/api/v1/namespaces/{ns}/serviceaccounts"
    assert await tried(f"{accounts}/default/token", {"spec": {}}) == 403
    assert await tried(f"/api/v1/namespaces/{other}/serviceaccounts/default/token", {"spec": {}}) == 403
    for path in ("exec?command=sh", "attach", "portforward", "proxy/", "log", "ephemeralcontainers", "eviction"):
        assert await tried(f"/api/v1/namespaces/{{ns}}/pods/p/{path}", None, "GET") == 403
    csr = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    assert await tried(csr, {"metadata": {"name": "x"}, "spec": {}}) == 403
    assert await tried(f"{csr}/x/approval", {"metadata": {"name": "x"}}, "PUT") == 403
    for kind in ("tokenreviews", "subjectaccessreviews"):
        group = "authentication" if kind == "tokenreviews" else "authorization"
        assert await tried(f"/apis/{group}.k8s.io/v1/{kind}", {"spec": {"token": "x", "user": "y"}}) == 403


async def test_nobody_asks_for_the_masters_certificate(api):
    wanted = Wanted("kubernetes.io/kube-apiserver-client", "eve", ("system:masters",), CLIENT_USAGES)
    request = _request(wanted, ec.generate_private_key(ec.SECP256R1()))
    spec = {"request": base64.b64encode(request).decode(), "signerName": wanted.signer, "usages": ["client auth"]}
    body = {"metadata": {"name": f"m-{api.namespace}"}, "spec": spec}
    answer = await api.post("/apis/certificates.k8s.io/v1/certificatesigningrequests", body)
    assert answer.status == 403
    assert "system:masters" in answer.message


async def test_who_may_write_approvals_approves_for_no_signer(api):
    """Nor may who writes the status sign, whatever roles say of the requests themselves."""
    group = "certificates.k8s.io"
    name, requests = f"s-{api.namespace}", f"/apis/{group}/v1/certificatesigningrequests"
    kinds = [f"certificatesigningrequests{part}" for part in ("", "/approval", "/status")]
    await _grant(api, name, {"apiGroups": [group], "resources": kinds, "verbs": ["*"]})
    headers = {"Authorization": f"Bearer {await _bearer(api)}"}
    wanted = Wanted("kubernetes.io/kube-apiserver-client", "eve", ("admins",), CLIENT_USAGES)
    request = base64.b64encode(_request(wanted, ec.generate_private_key(ec.SECP256R1()))).decode()
    spec = {"request": request, "signerName": wanted.signer, "usages": ["client auth"]}
    made = await api.ask("POST", requests, {"metadata": {"name": name}, "spec": spec}, anonymous=True, headers=headers)
    assert made.status == 201, made.data
    approved = {"type": "Approved", "status": "True", "reason": "I", "message": "say so"}
    certificate = base64.b64encode((api.directory / "pki" / "ca.crt").read_bytes()).decode()
    for part, status, verb in (
        ("approval", {"conditions": [approved]}, "approve"),
        ("status", {"certificate": certificate}, "sign"),
    ):
        body = {**made.json, "status": status}
        refused = await api.ask("PUT", f"{requests}/{name}/{part}", body, anonymous=True, headers=headers)
        assert refused.status == 403
        assert refused.message.endswith(f'user not permitted to {verb} requests with signerName "{wanted.signer}"')


async def test_a_right_to_nodes_is_none_to_what_their_kubelets_do(api):
    """Through nodes/proxy everything is done that a kubelet can do: run commands in all pods, read all logs."""
    node = f"n-{api.namespace}"
    await api.post("/api/v1/nodes", {"metadata": {"name": node}})
    await _grant(api, node, {"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["*"]})
    headers = {"Authorization": f"Bearer {await _bearer(api)}"}
    for method, path in (
        ("GET", f"{node}/proxy/pods"),
        ("GET", f"{node}/proxy/exec/ns/pod/c?command=sh"),
        ("POST", f"{node}/proxy/run/ns/pod/c?cmd=sh"),
        ("GET", f"https:{node}:10250/proxy/pods"),
        ("GET", f"{node}/proxy/../../../namespaces/kube-system/secrets"),
    ):
        answer = await api.ask(method, f"/api/v1/nodes/{path}", anonymous=True, headers=headers)
        assert answer.status in (403, 404), (path, answer.data)
    await api.delete(f"/api/v1/nodes/{node}")


async def test_a_node_reaches_nothing_of_another_nodes_pods(api):
    """Neither what they mount, nor a token of their account, nor their status, nor their node."""
    mine, other = (f"{name}-{api.namespace}" for name in ("mine", "other"))
    for name in ("secrets", "configmaps"):
        await api.post(f"/api/v1/namespaces/{{ns}}/{name}", {"metadata": {"name": "its"}})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    await api.post("/api/v1/namespaces/{ns}/persistentvolumeclaims", {"metadata": {"name": "its"}, "spec": claim})
    for name in (mine, other):
        await api.post("/api/v1/nodes", {"metadata": {"name": name}})
    volumes = [
        {"name": "s", "secret": {"secretName": "its"}},
        {"name": "m", "configMap": {"name": "its"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "its"}},
    ]
    pod = api.pod("its", nodeName=other, volumes=volumes)
    pod["metadata"]["annotations"] = {}
    made = await api.post("/api/v1/namespaces/{ns}/pods", pod)
    assert made.status == 201, made.data
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "its", "uid": made.json["metadata"]["uid"]}
    core = "/api/v1/namespaces/{ns}"
    asked = [
        ("GET", f"{core}/secrets/its", None),
        ("GET", f"{core}/secrets?watch=true&fieldSelector=metadata.name%3Dits&timeoutSeconds=1", None),
        ("GET", f"{core}/configmaps/its", None),
        ("GET", f"{core}/persistentvolumeclaims/its", None),
        ("POST", f"{core}/serviceaccounts/default/token", {"spec": {"boundObjectRef": bound}}),
        ("DELETE", f"{core}/pods/its", None),
        ("PUT", f"{core}/pods/its/status", {**made.json, "status": {"phase": "Failed"}}),
        ("PUT", f"/api/v1/nodes/{other}", {"metadata": {"name": other, "labels": {"a": "b"}}}),
        ("DELETE", f"/api/v1/nodes/{other}", None),
    ]
    for name, allowed in ((mine, {403}), (other, {200, 201})):
        node = {"Impersonate-User": f"system:node:{name}", "Impersonate-Group": "system:nodes"}
        for method, path, body in asked if name == mine else asked[:5]:
            answer = await api.ask(method, path, body, headers=node)
            assert answer.status in allowed, (name, method, path, answer.data)
    await api.delete(f"{core}/pods/its", {"gracePeriodSeconds": 0})
    for name in (mine, other):
        await api.delete(f"/api/v1/nodes/{name}")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLERS = [
    b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
    b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
    b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"GET /version HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n\r\n",
    b"GET /version HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    b"GET /version HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /version\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x00\xa5",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("request_", SMUGGLERS)
async def test_a_request_that_two_could_read_differently_ends_the_connection(api, request_):
    answer = await _raw(api, request_ + SMUGGLED)
    assert b'path \\"/smuggled' not in answer  # which is how it would be answered
    assert answer.count(b"\r\nServer: ") <= 1, answer
    assert not answer or answer.split()[1] in (b"400", b"405"), answer


async def test_headers_may_be_many_but_not_large(api):
    head = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = await _raw(api, head + b"".join(b"X-%d: a\r\n" % number for number in range(2000)) + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    large = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 50_000) for number in range(40))
    assert (await _raw(api, head + large)).startswith(b"HTTP/1.1 431 ")
    late = b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000
    answer = await _raw(api, late + head + b"\r\n")  # a body that nobody reads is no header
    assert [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]][-1] == b"200", answer


async def _still_there(api) -> None:
    assert (await api.get("/version", anonymous=True)).status == 200


DEEP = 10_000
BODIES = [
    ("application/json", b'{"data":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}"),
    ("application/json", b'{"metadata":{"name":"x"},"data":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    ("application/json", b"[" * 1_000_000),
    ("application/json", b'{"data":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}"),
    ("application/json", b'{"data":' + b'{"a":1,"a":' * 1000 + b"1" + b"}" * 1000 + b"}"),
    ("application/yaml", b"a: " + b"[" * DEEP + b"]" * DEEP),
    ("application/yaml", b"\n".join(b" " * level + b"a:" for level in range(1500))),
    (
        "application/yaml",
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"\n".join(b"%c: &%c [%s]" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("j"))),
    ),
    ("application/vnd.kubernetes.protobuf", b"k8s\x00" + b"\x12\xff\xff\x03" * 5000),
    ("application/json", b'{"data":{"a":"' + b"x" * (4 << 20) + b'"}}'),
    ("application/json", b'{"metadata":{"name":"x"},"data":' + b"9" * 1_000_000 + b"}"),
]


@pytest.mark.parametrize(("media", "body"), BODIES)
@pytest.mark.parametrize("path", ["/api/v1/namespaces/{ns}/configmaps", "/apis/apps/v1/namespaces/{ns}/deployments"])
async def test_bodies_that_are_weapons_are_refused(api, media, body, path):
    sending = asyncio.create_task(api.ask("POST", path, body, content=media))
    await _still_there(api)
    answer = await sending
    assert answer.status in (400, 413, 422), (answer.status, answer.data[:300])
    assert answer.json["kind"] == "Status"
    assert len(answer.data) < 64 << 10  # the weapon is not thrown back


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge-patch+json", b'{"data":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}"),
        ("merge-patch+json", b'{"data":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}"),
        ("json-patch+json", b'[{"op":"add","path":"/data","value":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}]"),
        ("json-patch+json", b"[" + b",".join([b'{"op":"copy","from":"/data","path":"/data/a"}'] * 60) + b"]"),
        ("json-patch+json", b"[" + b",".join([b'{"op":"test","path":"/data","value":{}}'] * 10_001) + b"]"),
        ("strategic-merge-patch+json", b'{"$patch":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}"),
        ("apply-patch+yaml?fieldManager=m", b"a: " + b"[" * DEEP + b"]" * DEEP),
    ],
)
async def test_patches_that_are_weapons_are_refused(api, kind, patch):
    path = "/api/v1/namespaces/{ns}/configmaps"
    await api.post(path, api.configmap("a", data={"k": "v" * 1000}))
    media, _, query = kind.partition("?")
    sending = asyncio.create_task(api.patch(f"{path}/a?{query}", patch, media))
    await _still_there(api)
    answer = await sending
    assert answer.status in (400, 413, 422), (answer.status, answer.data[:300])
    assert (await api.get(f"{path}/a")).json["data"] == {"k": "v" * 1000}


async def test_deep_custom_resources_are_kept_or_refused(api):
    """What has no schema is looked at all the way down, by admission and by the tracking of fields too."""
    group = f"{api.namespace}.deep.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "wells", "kind": "Well"}
    spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await api.post(path, {"metadata": {"name": f"wells.{group}"}, "spec": spec})).status == 201
    objects = f"/apis/{group}/v1/namespaces/{{ns}}/wells"
    for number, depth in enumerate((100, 400, 900, 1020, 3000, DEEP)):
        head = f'{{"apiVersion":"{group}/v1","kind":"Well","metadata":{{"name":"w{number}"}},"a":'
        body = head.encode() + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        while (answer := await api.ask("POST", objects, body)).status == 404:
            pass  # until it is served
        assert answer.status in (201, 400), (depth, answer.data[:300])
        assert answer.status == 201 or depth > 100
        applied = await api.ask(
            "PATCH",
            f"{objects}/a{number}?fieldManager=m",
            body.replace(b'"w', b'"a'),
            content="application/apply-patch+yaml",
        )
        assert applied.status in (201, 400), (depth, applied.data[:300])
        merged = await api.ask(
            "PATCH", f"{objects}/w0", body.replace(b'"w%d"' % number, b'"w0"'), content="application/merge-patch+json"
        )
        assert merged.status in (200, 400, 404), (depth, merged.data[:300])
    assert (await api.get(objects)).status == 200
    await api.delete(f"{path}/wells.{group}")


async def test_a_pattern_cannot_stop_the_server(api):
    """An expression that takes others exponential time, in a definition's schema and against a value."""
    name = f"weapons.{api.namespace}.example.com"
    schema = {
        "type": "object",
        "properties": {"evil": {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$", "maxLength": 100_000}},
    }
    definition = {
        "metadata": {"name": name},
        "spec": {
            "group": f"{api.namespace}.example.com",
            "names": {"plural": "weapons", "kind": "Weapon"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await api.post(path, definition)).status == 201
    objects = f"/apis/{api.namespace}.example.com/v1/namespaces/{{ns}}/weapons"
    weapon = {"apiVersion": f"{api.namespace}.example.com/v1", "kind": "Weapon", "metadata": {"name": "w"}}
    while (answer := await api.post(objects, {**weapon, "evil": "a" * 50_000})).status == 404:
        pass  # until it is served
    assert answer.status == 422, answer.data[:300]
    await api.delete(f"{path}/{name}")


async def test_a_rule_that_is_dear_holds_up_nobody(api):
    """As dear as a rule may be: it is judged beside other requests, and the object is refused in the end."""
    group = f"{api.namespace}.dear.com"
    rule = {"rule": "self.all(a, self.all(b, a + b != 'zzz'))"}
    many = {"type": "array", "maxItems": 400, "items": {"type": "string", "maxLength": 7}}
    schema = {"type": "object", "properties": {"many": {**many, "x-kubernetes-validations": [rule]}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": group,
        "names": {"plural": "jewels", "kind": "Jewel"},
        "scope": "Namespaced",
        "versions": [version],
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = await api.post(path, {"metadata": {"name": f"jewels.{group}"}, "spec": spec})
    assert made.status == 201, made.data
    objects = f"/apis/{group}/v1/namespaces/{{ns}}/jewels"
    jewel = {"apiVersion": f"{group}/v1", "kind": "Jewel", "metadata": {"name": "j"}}
    while (await api.post(f"{objects}?dryRun=All", jewel)).status == 404:
        pass  # until it is served
    judged = asyncio.create_task(api.post(objects, {**jewel, "many": ["a" * 7] * 400}))
    answered = 0
    while not judged.done():
        await _still_there(api)
        answered += 1
    refused = judged.result()
    assert refused.status == 422
    assert "no further validation rules will be run due to call cost exceeds limit for rule" in refused.message
    assert answered > 3
    await api.delete(f"{path}/jewels.{group}")


async def test_selectors_and_queries_that_are_weapons_are_refused(api):
    maps = "/api/v1/namespaces/{ns}/configmaps"
    for query in (
        "labelSelector=" + "a," * 200_000,
        "labelSelector=" + "(" * 10_000,
        "fieldSelector=" + "metadata.name%3Da," * 10_000,
        "limit=" + "9" * 5000,
        "continue=" + "A" * 100_000,
        "resourceVersion=" + "1" * 5000,
    ):
        answer = await api.get(f"{maps}?{query}")
        assert 200 <= answer.status < 500, query[:40]
        await _still_there(api)


async def test_clients_that_dawdle_hold_up_nobody(api):
    """Half a request each, from many: the others are answered."""
    context = ssl.create_default_context(cafile=str(api.directory / "pki" / "ca.crt"))
    host, port = api.url.removeprefix("https://").split(":")
    dawdlers = []
    for number in range(100):
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        body = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        writer.write(body + (b"\r\n{" if number % 2 else b""))
        dawdlers.append(writer)
    for _ in range(20):
        await _still_there(api)
    assert (await api.post("/api/v1/namespaces/{ns}/configmaps", api.configmap("through"))).status == 201
    for writer in dawdlers:
        writer.close()
