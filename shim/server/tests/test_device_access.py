"""Rights to the parts of a claim's status: who binds it, and whose devices are whose."""

from __future__ import annotations

from shim.server.tests.test_impersonation import _grant

GROUP = "resource.k8s.io"
CLAIMS = f"/apis/{GROUP}/v1/namespaces/{{ns}}/resourceclaims"
MAY_WRITE = {"apiGroups": [GROUP], "resources": ["resourceclaims/status"], "verbs": ["update", "patch"]}
DEVICE = {"driver": "d.example.com", "pool": "p", "device": "one"}


def _may(resource, *verbs, **more):
    return {"apiGroups": [GROUP], "resources": [resource], "verbs": list(verbs), **more}


async def _claim(api):
    request = {"name": "r", "exactly": {"deviceClassName": "c"}}
    made = await api.post(CLAIMS, {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}})
    assert made.status == 201, made.data


def _allocation(node=""):
    found = {"devices": {"results": [{"request": "r", **DEVICE}]}}
    if node:
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        found["nodeSelector"] = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return found


async def _write(api, status, **spec):
    made = await api.post("/api/v1/namespaces/{ns}/serviceaccounts/default/token", {"spec": spec})
    headers = {"Authorization": f"Bearer {made.json['status']['token']}"}
    return await api.ask(
        "PATCH",
        f"{CLAIMS}/c/status",
        {"status": status},
        anonymous=True,
        headers=headers,
        content="application/merge-patch+json",
    )


async def test_an_allocation_is_written_by_who_may_bind(api):
    await _claim(api)
    user = f"system:serviceaccount:{api.namespace}:default"
    await _grant(api, f"status-{api.namespace}", MAY_WRITE)
    refused = await _write(api, {"allocation": _allocation()})
    assert refused.status == 422
    assert refused.json["details"]["causes"][0] == {
        "reason": "FieldValueForbidden",
        "field": "status.allocation",
        "message": "Forbidden: changing status.allocation or status.reservedFor requires "
        'resource="resourceclaims/binding", verb="patch" permission: resourceclaims.resource.k8s.io is forbidden: '
        f'User "{user}" cannot patch resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster '
        "scope",
    }
    assert (await api.get(f"{CLAIMS}/c")).json.get("status", {}) == {}
    await _grant(api, f"bind-{api.namespace}", _may("resourceclaims/binding", "patch"))
    assert (await _write(api, {"allocation": _allocation()})).status == 200


async def test_devices_are_told_of_by_their_driver(api):
    await _claim(api)
    node = f"n-{api.namespace}"
    await api.post("/api/v1/nodes", {"metadata": {"name": node}})
    allocated = await api.patch(f"{CLAIMS}/c/status", {"status": {"allocation": _allocation(node)}})
    assert allocated.status == 200, allocated.data
    pod = api.pod("p", nodeName=node)
    pod["metadata"]["annotations"] = {}
    assert (await api.post("/api/v1/namespaces/{ns}/pods", pod)).status == 201
    there = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}
    await _grant(api, f"status-{api.namespace}", MAY_WRITE)
    devices = {"devices": [{**DEVICE, "data": {"a": "b"}}]}
    far, near = await _write(api, devices), await _write(api, devices, **there)
    assert (far.status, near.status) == (422, 422)
    assert 'requires resource="resourceclaims/driver", verb="[arbitrary-node:patch]"' in far.message
    assert 'verb="[associated-node:patch arbitrary-node:patch]"' in near.message
    own = _may("resourceclaims/driver", "associated-node:patch", resourceNames=[DEVICE["driver"]])
    await _grant(api, f"driver-{api.namespace}", own)
    assert (await _write(api, devices)).status == 422
    assert (await _write(api, devices, **there)).status == 200
    assert (await _write(api, {"devices": []})).status == 422, "nor may others take them away"
    await api.delete(f"/api/v1/nodes/{node}")
