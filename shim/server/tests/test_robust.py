"""Whatever is sent, the answer is a Status, and never that the server did not expect it.

What is sent is made up by hypothesis: bodies near valid ones, odd paths, queries, headers and patches. What once broke
the server is kept as an example. ``SHIM_EXAMPLES=5000 pytest ...`` looks longer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from typing import Any

import orjson
import pytest
import pytest_asyncio
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.codec.definitions import load_schema
from shim.codec.protobuf import Protobuf
from shim.server.tests.conftest import Api, tls

EXAMPLES = int(os.environ.get("SHIM_EXAMPLES", "60"))
often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

KINDS: dict[str, dict[str, Any]] = {
    "/api/v1/namespaces/default/configmaps": {"data": {"a": "b"}, "binaryData": {"c": "aGk="}, "immutable": False},
    "/api/v1/namespaces/default/secrets": {"type": "Opaque", "stringData": {"a": "b"}, "data": {"c": "aGk="}},
    "/api/v1/namespaces/default/pods": {
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "ports": [{"containerPort": 80}],
                    "env": [{"name": "A", "value": "b"}],
                    "resources": {"requests": {"cpu": "1"}},
                    "livenessProbe": {"httpGet": {"port": 80, "path": "/"}},
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "a", "operator": "Exists"}],
        }
    },
    "/api/v1/namespaces/default/services": {
        "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"a": "b"}, "type": "NodePort"}
    },
    "/apis/apps/v1/namespaces/default/deployments": {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
            "strategy": {"rollingUpdate": {"maxSurge": "25%"}},
        }
    },
    "/apis/batch/v1/namespaces/default/jobs": {
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
    },
    "/apis/batch/v1/namespaces/default/cronjobs": {
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {
                "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
            },
        }
    },
    "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies": {
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}
    },
    "/apis/networking.k8s.io/v1/namespaces/default/ingresses": {
        "spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix"}]}}]}
    },
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": {
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    },
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers": {
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}
    },
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets": {"spec": {"minAvailable": "50%", "selector": {}}},
    "/apis/storage.k8s.io/v1/storageclasses": {"provisioner": "p", "parameters": {"a": "b"}},
    "/api/v1/persistentvolumes": {
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    },
    "/apis/coordination.k8s.io/v1/namespaces/default/leases": {
        "spec": {"leaseDurationSeconds": 1, "renewTime": "2026-01-01T00:00:00.000000Z"}
    },
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"port": 1}],
    },
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {
        "spec": {
            "group": "g.example.com",
            "names": {"plural": "xs", "kind": "X"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
                }
            ],
        }
    },
}
SCHEMA = load_schema()
PROTOBUF = Protobuf(SCHEMA)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["", "0", "-1", "1e9999", "2026-01-01T00:00:00Z", "x" * 300, "\0", "a/b", "\U0001f600", "default"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def nearly_valid(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A path, and an object that fits it but for a value or two."""
    path = draw(st.sampled_from(sorted(KINDS)))
    name = draw(st.sampled_from(["robust", "other", "", "UPPER", "a.b", "x" * 254]))
    obj: dict[str, Any] = orjson.loads(orjson.dumps({"metadata": {"name": name, "labels": {"a": "b"}}, **KINDS[path]}))
    obj["metadata"] |= draw(st.dictionaries(st.sampled_from(METADATA), anything, max_size=1))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(obj))
        holder, key = draw(st.sampled_from(places))
        holder[key] = draw(anything)
    return path, obj


METADATA = (
    "generateName namespace uid resourceVersion creationTimestamp deletionTimestamp labels annotations finalizers "
    "ownerReferences managedFields generation deletionGracePeriodSeconds selfLink"
).split()


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(pairs):
        yield value, key
        yield from _places(item)


class Wire:
    """Sends bytes as they are, where a client library would be too polite."""

    def __init__(self, server: Api, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._context, self._caplog = context, caplog

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return await self.send("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body)

    async def send(self, data: bytes) -> tuple[int, bytes]:
        """Raises when an answer is not what it must be."""
        self._caplog.clear()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname="localhost"
        )
        writer.write(data)
        async with asyncio.timeout(30):
            answer = await reader.read(-1)
        writer.close()
        unexpected = [record for record in self._caplog.records if record.name.startswith("shim.")]
        assert not unexpected, (data[:2000], [(record.getMessage(), record.exc_info) for record in unexpected])
        head, _, content = answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status >= 400 and content and b"application/json" in head:
            found = orjson.loads(content)
            assert (found["kind"], found["status"], found["code"]) == ("Status", "Failure", status), data[:2000]
        return status, content


@pytest_asyncio.fixture(loop_scope="session")
async def wire(server: Api, caplog: pytest.LogCaptureFixture) -> Wire:
    caplog.set_level(logging.ERROR)
    await server.post(
        "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )  # or it is there already
    return Wire(server, tls(server.directory / "admin.kubeconfig"), caplog)


async def clean(wire: Wire, path: str, obj: dict[str, Any]) -> None:
    name = obj["metadata"].get("name") if isinstance(obj["metadata"], dict) else None
    if isinstance(name, str) and name.isascii() and name.replace(".", "").isalnum():
        await wire.ask("DELETE", f"{path}/{name}?gracePeriodSeconds=0")


@often
@given(nearly_valid(), st.sampled_from(["json", "yaml", "protobuf"]), st.sampled_from(["", "Strict", "Ignore"]))
async def test_objects(wire: Wire, written: tuple[str, dict[str, Any]], form: str, validation: str) -> None:
    path, obj = written
    body = orjson.dumps(obj)
    content = "application/json"
    if form == "yaml":
        body, content = yaml.safe_dump(obj).encode(), "application/yaml"
    elif form == "protobuf":
        group, version, kind = _kind(path)
        try:
            body = PROTOBUF.encode({**obj, "apiVersion": f"{group}/{version}".lstrip("/"), "kind": kind})
        except Exception:
            return  # what cannot be said in protobuf cannot be sent
        content = "application/vnd.kubernetes.protobuf"
    query = f"?fieldValidation={validation}" if validation else ""
    await wire.ask("POST", path + query, body, Content_Type=content)
    await wire.ask("PUT", f"{path}/robust{query}", body, Content_Type=content)
    await clean(wire, path, obj)


def _kind(path: str) -> tuple[str, str, str]:
    from shim.resources.table import RESOURCES

    parts = path.split("/")
    group, version = ("", parts[2]) if parts[1] == "api" else (parts[2], parts[3])
    row = next(row for row in RESOURCES if (row.group, row.version, row.name) == (group, version, parts[-1]))
    return group, version, row.kind


@often
@given(
    nearly_valid(),
    st.sampled_from(["merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"]),
    st.data(),
)
async def test_patches(wire: Wire, written: tuple[str, dict[str, Any]], way: str, data: st.DataObject) -> None:
    path, patch = written
    valid = {"metadata": {"name": "robust"}, **KINDS[path]}
    await wire.ask("POST", path, orjson.dumps(valid), Content_Type="application/json")
    sent: Any = patch
    if way == "json-patch+json":
        operations = st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "jump"])
        pointers = st.one_of(st.sampled_from(_pointers(valid)), st.text(alphabet="/~-01a", max_size=6))
        operation = st.fixed_dictionaries({"op": operations, "path": pointers, "from": pointers, "value": anything})
        sent = data.draw(st.lists(operation, min_size=1, max_size=3))
    elif way == "strategic-merge-patch+json":
        directives = st.sampled_from(
            ["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/x"]
        )
        places = [holder for holder, key in _places(sent) if isinstance(holder, dict)]
        data.draw(st.sampled_from(places))[data.draw(directives)] = data.draw(anything | st.just("delete"))
    query = "?fieldManager=m" if way.startswith("apply") else ""
    for subresource in ("", "/status", "/scale"):
        await wire.ask(
            "PATCH", f"{path}/robust{subresource}{query}", orjson.dumps(sent), Content_Type=f"application/{way}"
        )
    await clean(wire, path, valid)


def _pointers(value: Any, front: str = "") -> list[str]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [front, f"{front}/-", f"{front}/new"]
    for key, item in pairs:
        found += _pointers(item, f"{front}/{key}")
    return found


@often
@given(
    st.sampled_from(sorted(KINDS)),
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    st.sampled_from(
        ["json", "yaml", "vnd.kubernetes.protobuf", "merge-patch+json", "json-patch+json", "apply-patch+yaml"]
    ),
    st.sampled_from(
        [b"", b"k8s\0", b"{", b"[", b"a: ", b"---\n", b'{"kind":', b"k8s\0\n\x13\n\x02v1\x12\rConfigMapList\x12"]
    ),
)
async def test_bodies_that_are_nothing(wire: Wire, path: str, data: bytes, form: str, front: bytes) -> None:
    method = "PATCH" if "patch" in form else "POST"
    target = f"{path}/robust?fieldManager=m" if method == "PATCH" else path
    await wire.ask(method, target, front + data, Content_Type=f"application/{form}")
    await wire.ask("DELETE", f"{path}/nothing", front + data, Content_Type=f"application/{form}")


segments = st.one_of(
    st.sampled_from(
        "api apis v1 apps namespaces default pods configmaps nodes x status scale watch proxy log exec .. . %2f %00 "
        "openapi v2 v3 healthz metrics version openid jwks apiextensions.k8s.io events binding eviction token".split()
    ),
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="? #"), max_size=6),
    st.just(""),
)
parameters = st.tuples(
    st.sampled_from(
        "watch limit continue resourceVersion resourceVersionMatch labelSelector fieldSelector timeoutSeconds timeout "
        "allowWatchBookmarks sendInitialEvents pretty dryRun fieldManager fieldValidation force includeObject "
        "gracePeriodSeconds propagationPolicy orphanDependents exclude verbose hash command container follow tailLines "
        "sinceTime limitBytes ports path".split()
    ),
    st.one_of(
        st.sampled_from(
            ["", "0", "1", "true", "-1", "abc", "All", "Exact", "NotOlderThan", "a=b", "a in (b)", "a!=", "!a"]
        ),
        st.sampled_from(
            ["metadata.name=x", "%00", "%ff", "%zz", "99999999999999999999", "1.5", "(", "a in (", "=", ","]
        ),
        st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="&# "), max_size=8),
    ),
)
ACCEPTS = [
    "*/*",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    "text/html",
    ";;;",
    "a;b=c,d",
]


@often
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]),
    st.lists(segments, max_size=8),
    st.lists(parameters, max_size=3),
    st.sampled_from(ACCEPTS),
)
async def test_paths_and_queries(
    wire: Wire, method: str, parts: list[str], query: list[tuple[str, str]], accept: str
) -> None:
    pairs = "&".join(f"{name}={value}" for name, value in [*query, ("timeoutSeconds", "1")])
    target = f"/{'/'.join(parts)}?{pairs}"
    if "watch" in target or "follow" in target:
        method = "POST"  # which may not last
    await wire.ask(method, target, Accept=accept)


@often
@given(
    st.sampled_from(["/api/v1/configmaps", "/api/v1/pods", "/api/v1/services", "/apis/apps/v1/deployments"]),
    st.lists(parameters, max_size=4),
    st.sampled_from(ACCEPTS),
)
async def test_lists(wire: Wire, path: str, query: list[tuple[str, str]], accept: str) -> None:
    pairs = "&".join(f"{name}={value}" for name, value in query if name not in ("watch", "timeoutSeconds"))
    await wire.ask("GET", f"{path}?{pairs}", Accept=accept)


@often
@given(
    st.sampled_from(
        "Authorization Impersonate-User Impersonate-Group Impersonate-Uid Impersonate-Extra-x Accept Content-Type "
        "Accept-Encoding If-None-Match Upgrade User-Agent X-Remote-User Range".split()
    ),
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=20)
    | st.sampled_from(
        ["Bearer a.b.c", "Bearer ", "Basic YTpi", "system:serviceaccount:a", "100-continue", "websocket"]
    ),
    st.sampled_from(["GET", "POST"]),
)
async def test_headers(wire: Wire, name: str, value: str, method: str) -> None:
    lines = [f"{method} /api/v1/namespaces/default/configmaps HTTP/1.1", "Host: localhost", f"{name}: {value.strip()}"]
    body = b'{"metadata":{"name":"UPPER"}}' if method == "POST" else b""
    lines += [f"Content-Length: {len(body)}"] if body else []
    lines.append("Connection: close")
    await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("way", "patch", "code", "message"),
    [
        ("merge-patch+json", {"metadata": [None]}, 422, "cannot unmarshal array into Go struct field"),
        ("merge-patch+json", {"metadata": 1}, 422, "cannot unmarshal number into Go struct field"),
        ("apply-patch+yaml", {"metadata": {"name": "robust"}}, 400, "invalid object type: /, Kind="),
        (
            "apply-patch+yaml",
            {"apiVersion": "v2", "kind": "ConfigMap"},
            400,
            "invalid object type: /v2, Kind=ConfigMap",
        ),
    ],
)
async def test_what_was_found(wire: Wire, way: str, patch: dict[str, Any], code: int, message: str) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    await wire.ask("POST", path, b'{"metadata":{"name":"robust"}}', Content_Type="application/json")
    target = f"{path}/robust?fieldManager=m" if way.startswith("apply") else f"{path}/robust"
    status, content = await wire.ask("PATCH", target, orjson.dumps(patch), Content_Type=f"application/{way}")
    assert status == code
    assert message in orjson.loads(content)["message"]
