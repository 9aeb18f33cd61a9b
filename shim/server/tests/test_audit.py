"""What the audit log tells of requests, stage by stage, as upstream's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from shim.api.duration import parse_duration
from shim.server import dispatch
from shim.server.audit import record
from shim.server.tests.conftest import serving

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, users: ["system:apiserver"]}
- level: RequestResponse
  resources: [{group: "", resources: [configmaps]}]
  omitManagedFields: true
- level: Request
  resources: [{group: "", resources: [secrets]}]
- level: Metadata
  omitStages: [RequestReceived]
"""
MASTERS = "system:masters"
MAPS = "/api/v1/namespaces/default/configmaps"


class _Log:
    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, 0

    def new(self):
        """Events since the last time, without what differs each time."""
        lines = self._path.read_text().splitlines()
        events = [json.loads(line) for line in lines[self._seen :]]
        self._seen = len(lines)
        for event in events:
            assert event.pop("kind") == "Event"
            assert event.pop("requestReceivedTimestamp") <= event.pop("stageTimestamp")
            assert event.pop("sourceIPs") == ["127.0.0.1"]
        return events


async def _by_roles(api) -> int:
    """How many requests roles have allowed."""
    name = 'apiserver_authorization_decisions_total{decision="allowed",name="rbac",type="RBAC"} '
    text = (await api.get("/metrics")).data.decode()
    return sum(int(float(line.rpartition(" ")[2])) for line in text.splitlines() if line.startswith(name))


async def test_the_audit_log_follows_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    flags = {"audit_policy_file": tmp_path / "policy.yaml", "audit_log_path": str(tmp_path / "audit.log")}
    async with serving(tmp_path / "data", **flags) as api:
        log = _Log(tmp_path / "audit.log")
        log.new()
        answer = await api.post(f"{MAPS}?fieldManager=me", api.configmap("a", data={"k": "v"}))
        received, complete = log.new()
        assert answer.headers["Audit-Id"] == complete["auditID"]
        assert received["stage"] == "RequestReceived"
        assert "annotations" not in received
        assert received["auditID"] == complete["auditID"]
        assert (complete["stage"], complete["level"], complete["verb"]) == (
            "ResponseComplete",
            "RequestResponse",
            "create",
        )
        assert complete["requestURI"] == f"{MAPS}?fieldManager=me"
        assert complete["user"]["username"] == "kubernetes-admin"
        assert complete["objectRef"] == {
            "resource": "configmaps",
            "namespace": "default",
            "name": "a",
            "apiVersion": "v1",
        }
        assert complete["responseStatus"] == {"metadata": {}, "code": 201}
        assert complete["requestObject"] == {**api.configmap("a"), "data": {"k": "v"}}
        assert complete["responseObject"]["metadata"]["uid"]
        assert "managedFields" not in complete["responseObject"]["metadata"]
        assert complete["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}

        await api.patch(f"{MAPS}/a", {"data": {"k": "w"}})
        assert log.new()[-1]["requestObject"] == {"data": {"k": "w"}}
        await api.delete(f"{MAPS}/a", {"gracePeriodSeconds": 0})
        complete = log.new()[-1]
        assert complete["requestObject"] == {
            "kind": "DeleteOptions",
            "apiVersion": "meta.k8s.io/__internal",
            "gracePeriodSeconds": 0,
        }
        assert complete["responseStatus"]["status"] == "Success"
        await api.get(f"{MAPS}/a")
        status = log.new()[-1]["responseStatus"]
        assert (status["code"], status["reason"], status["message"]) == (404, "NotFound", 'configmaps "a" not found')

        await api.post("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
        complete = log.new()[-1]
        assert complete["requestObject"]["type"] == "Opaque"
        assert "responseObject" not in complete

        await api.get("/api/v1/nodes", headers={"Impersonate-User": "bob"})
        (complete,) = log.new()
        assert complete["impersonatedUser"] == {"username": "bob", "groups": ["system:authenticated"]}
        assert complete["authenticationMetadata"] == {"impersonationConstraint": "impersonate:user-info"}
        assert complete["annotations"]["authorization.k8s.io/decision"] == "forbid"
        decided = await _by_roles(api)
        assert (await api.get("/api", headers={"Impersonate-User": "bob"})).status == 200
        assert await _by_roles(api) == decided + 1  # who writes of a decision does not make it again
        log.new()
        await api.get("/api/v1/nodes", anonymous=True, headers={"Authorization": "Bearer bogus"})
        (failed,) = log.new()
        assert (failed["stage"], failed["user"], failed["responseStatus"]["code"]) == ("ResponseStarted", {}, 401)

        def broken(call: object) -> None:
            raise RuntimeError("by mistake")

        with monkeypatch.context() as patched:
            patched.setitem(dispatch._ON_OBJECTS, "get", broken)
            assert (await api.get(f"{MAPS}/a")).status == 500
        received, panic = log.new()
        assert (received["stage"], panic["stage"]) == ("RequestReceived", "Panic")
        assert panic["responseStatus"] == {
            "metadata": {},
            "status": "Failure",
            "message": "APIServer panic'd: by mistake",
            "reason": "InternalError",
            "code": 500,
        }

        watching = asyncio.create_task(api.watch(MAPS))
        await watching
        assert [event["stage"] for event in log.new()] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
        lines = (await api.get("/metrics")).data.decode().splitlines()
        assert "objectRef" not in log.new()[0]
        counted = {name: float(value) for name, value in (line.split(" ") for line in lines if "audit_" in line[:20])}
        assert counted["apiserver_audit_event_total"] >= 10
        assert counted['apiserver_audit_level_total{level="RequestResponse"}'] >= 4

        await api.get(f"{MAPS}?watch=1&resourceVersion=x")  # what is refused has begun, too
        received, started, complete = log.new()
        assert [each["stage"] for each in (started, complete)] == ["ResponseStarted", "ResponseComplete"]
        assert started["responseStatus"] == complete["responseStatus"]
        assert started["responseStatus"]["code"] == 500
        await api.get(f"{MAPS}?fieldSelector=metadata.name%3Db")
        assert log.new()[0]["objectRef"]["name"] == "b"
        await api.put(f"{MAPS}/b", api.configmap("b"))
        assert "namespace" not in log.new()[-1]["requestObject"]["metadata"]
        await api.post(MAPS, api.configmap("b"), headers={"Accept": "application/vnd.kubernetes.protobuf"})
        shown = log.new()[-1]["responseObject"]
        assert (shown["kind"], "generation" in shown["metadata"]) == ("ConfigMap", False)

        await api.get("/api/v1/namespaces/default/endpoints")
        assert log.new()[-1]["annotations"]["k8s.io/deprecated"] == "true"
        monkeypatch.setattr(record, "_SLOW", 0.0)
        await api.post(MAPS, api.configmap("slow"), headers={"Impersonate-User": "a", "Impersonate-Group": MASTERS})
        told = log.new()[-1]["annotations"]
        for layer in ("authentication", "impersonation", "authorization", "etcd", "total"):
            assert 0 < parse_duration(told[f"apiserver.latency.k8s.io/{layer}"]) < 600
        watching = asyncio.create_task(api.watch(MAPS))
        await watching
        assert not any(
            key.startswith("apiserver.latency") for event in log.new() for key in event.get("annotations", ())
        )

        level = {"pod-security.kubernetes.io/enforce": "baseline"}
        await api.post("/api/v1/namespaces", {"metadata": {"name": "strict", "labels": level}})
        account = {"metadata": {"name": "default"}}
        await api.post("/api/v1/namespaces/strict/serviceaccounts", account)
        await api.post("/api/v1/namespaces/strict/pods", api.pod("p"))
        assert log.new()[-1]["annotations"]["pod-security.kubernetes.io/enforce-policy"] == "baseline:latest"


async def test_who_leaves_before_the_answer_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    flags = {"audit_policy_file": tmp_path / "policy.yaml", "audit_log_path": str(tmp_path / "audit.log")}
    async with serving(tmp_path / "data", **flags) as api:
        log = _Log(tmp_path / "audit.log")
        log.new()
        leaving = asyncio.create_task(api.ask("GET", f"{MAPS}?watch=true&timeoutSeconds=60"))
        found: list[dict[str, object]] = []
        async with asyncio.timeout(60):
            for stage, then in (("RequestReceived", leaving.cancel), ("ResponseComplete", list)):
                while not found or stage not in {event["stage"] for event in found}:
                    await asyncio.sleep(0.01)
                    found += log.new()
                then()
        assert [event["stage"] for event in found] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
        assert found[-1]["responseStatus"]["code"] == 200


def test_what_proxies_say_of_clients_are_addresses() -> None:
    headers = {"X-Forwarded-For": "someone, 10.1.2.3", "X-Real-Ip": "nowhere"}
    assert record._sources(make_mocked_request("GET", "/", headers=headers))[:1] == ["10.1.2.3"]
    assert "nowhere" not in record._sources(make_mocked_request("GET", "/", headers=headers))
