import orjson

from shim.client import EventRecorder

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "default", "uid": "u1", "resourceVersion": "7"},
}


async def test_the_first_event_is_written_and_its_repeat_counted(server, client):
    recorder = EventRecorder(client, "kubelet", "n1")
    recorder.event(POD, "Normal", "Started", "Started container c", field_path="spec.containers{c}")
    recorder.event(POD, "Normal", "Started", "Started container c", field_path="spec.containers{c}")
    await recorder.flush()

    (create, patch) = server.requests
    event = orjson.loads(create[2])
    assert create[:2] == ("POST", "/api/v1/namespaces/default/events")
    assert event["involvedObject"] == {
        "kind": "Pod", "apiVersion": "v1", "namespace": "default", "name": "web", "uid": "u1",
        "resourceVersion": "7", "fieldPath": "spec.containers{c}",
    }  # fmt: skip
    assert event["source"] == {"component": "kubelet", "host": "n1"}
    assert patch[:2] == ("PATCH", f"/api/v1/namespaces/default/events/{event['metadata']['name']}")
    assert orjson.loads(patch[2])["count"] == 2


async def test_one_object_cannot_flood_the_server(server, client):
    recorder = EventRecorder(client, "kubelet")
    for attempt in range(100):
        recorder.event(POD, "Warning", "Failed", f"attempt {attempt}")
    await recorder.flush()

    assert len(server.requests) == 25
    creates = [orjson.loads(body) for method, _, body in server.requests if method == "POST"]
    assert len(creates) == 10
    assert creates[-1]["message"].startswith("(combined from similar events): ")


async def test_an_event_about_a_node_is_in_the_default_namespace(server, client):
    recorder = EventRecorder(client, "node-controller")
    recorder.event({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}, "Normal", "NodeReady", "ready")
    await recorder.flush()
    assert server.requests[0][1] == "/api/v1/namespaces/default/events"
