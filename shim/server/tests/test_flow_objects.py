"""A FlowSchema tells whether the priority level it names is there."""

from __future__ import annotations

import asyncio

SCHEMAS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
LEVELS = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
LIMITED = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}


async def _condition(api, name, status):
    for _ in range(1000):
        schema = (await api.get(f"{SCHEMAS}/{name}")).json
        for condition in schema.get("status", {}).get("conditions", ()):
            if condition["status"] == status:
                return condition, schema["metadata"]["managedFields"]
        await asyncio.sleep(0.01)
    raise AssertionError(f"{name} never says {status}")


async def test_a_flow_schema_tells_whether_its_level_is_there(api):
    name = f"level-of-{api.namespace}"
    spec = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 500}
    await api.post(SCHEMAS, {"metadata": {"name": name}, "spec": spec})
    condition, managed = await _condition(api, name, "True")
    assert (condition["type"], condition["reason"]) == ("Dangling", "NotFound")
    told = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}"'
    assert condition["message"] == f"{told} but there is no such object"
    assert ("api-priority-and-fairness-config-consumer-v1", "Apply", "status") in [
        (each["manager"], each["operation"], each.get("subresource")) for each in managed
    ]
    await api.post(LEVELS, {"metadata": {"name": name}, "spec": LIMITED})
    condition, _ = await _condition(api, name, "False")
    assert (condition["reason"], condition["message"]) == ("Found", f"{told} and it exists")
    await api.delete(f"{LEVELS}/{name}")
    assert (await _condition(api, name, "True"))[0]["reason"] == "NotFound"
    await api.delete(f"{SCHEMAS}/{name}")
