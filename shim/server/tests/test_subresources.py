"""Subresources that change a part of an object, or order something: scale, resize, eviction, the log's options."""

from __future__ import annotations

import pytest

PODS = "/api/v1/namespaces/{ns}/pods"
BUDGETS = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
LABELS = {"app": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}

SCALED = {
    "/apis/apps/v1/namespaces/{ns}/deployments": {"matchLabels": LABELS},
    "/apis/apps/v1/namespaces/{ns}/replicasets": {
        "matchLabels": LABELS,
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}],
    },
    "/apis/apps/v1/namespaces/{ns}/statefulsets": {"matchLabels": LABELS},
    "/api/v1/namespaces/{ns}/replicationcontrollers": LABELS,
}


@pytest.mark.parametrize("path", SCALED)
async def test_every_workload_is_scaled(api, path):
    spec = {"replicas": 2, "selector": SCALED[path], "template": TEMPLATE}
    assert (await api.post(path, {"metadata": {"name": "w"}, "spec": spec})).status == 201
    scale = (await api.get(f"{path}/w/scale")).json
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert scale["status"]["selector"] == ("app=web,app in (api,web)" if "replicasets" in path else "app=web")
    table = (await api.get(f"{path}/w/scale", accept="application/json;as=Table;v=v1;g=meta.k8s.io")).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["w", 2, 0]
    scale["spec"]["replicas"] = 3
    changed = await api.put(f"{path}/w/scale", scale)
    assert (changed.status, changed.json["spec"]) == (200, {"replicas": 3})
    assert (await api.get(f"{path}/w")).json["metadata"]["generation"] == 2
    stale = await api.put(f"{path}/w/scale", scale)
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    patched = await api.patch(f"{path}/w/scale", {"spec": {"replicas": 0}})
    assert (patched.status, patched.json["spec"]) == (200, {})
    refused = await api.patch(f"{path}/w/scale", {"spec": {"replicas": -1}})
    assert refused.status == 422
    assert refused.message.endswith("spec.replicas: Invalid value: -1: must be greater than or equal to 0")
    other = await api.patch(f"{path}/w/scale", {"metadata": {"uid": "no"}, "spec": {"replicas": 1}})
    assert (other.status, "UID in precondition: no" in other.message) == (409, True)
    renamed = await api.put(f"{path}/w/scale", {"metadata": {"name": "x"}, "spec": {"replicas": 1}})
    assert renamed.message == "the name of the object (x) does not match the name on the URL (w)"
    dry = await api.patch(f"{path}/w/scale?dryRun=All", {"spec": {"replicas": 9}})
    assert dry.json["spec"] == {"replicas": 9}
    assert (await api.get(f"{path}/w/scale")).json["spec"] == {}


async def _running(api, name, ready=True):
    body = api.pod(name)
    body["metadata"]["labels"] = LABELS
    await api.post(PODS, body)
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    assert (await api.patch(f"{PODS}/{name}/status", {"status": status})).status == 200


async def _budget(api, name, allowed, **spec):
    spec = {"minAvailable": 1, "selector": {"matchLabels": LABELS}, **spec}
    await api.post(BUDGETS, {"metadata": {"name": name}, "spec": spec})
    status = {"observedGeneration": 1, "desiredHealthy": 1, "currentHealthy": 1 + allowed, "expectedPods": 2}
    status["disruptionsAllowed"] = allowed
    assert (await api.patch(f"{BUDGETS}/{name}/status", {"status": status})).status == 200


def _eviction(name, version="policy/v1", **options):
    body = {"apiVersion": version, "kind": "Eviction", "metadata": {"name": name}}
    return {**body, "deleteOptions": options} if options else body


async def test_a_scale_is_judged_as_an_object_is(api):
    path = "/apis/apps/v1/namespaces/{ns}/deployments"
    spec = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    uid = (await api.post(path, {"metadata": {"name": "w"}, "spec": spec})).json["metadata"]["uid"]
    scale = (await api.get(f"{path}/w/scale")).json
    scale["metadata"] |= {"labels": {"a": "Bad value!"}, "finalizers": ["x"]}
    scale["spec"] = {"replicas": -1}
    refused = await api.put(f"{path}/w/scale", scale)
    fields = [cause["field"] for cause in refused.json["details"]["causes"]]
    assert fields == ["metadata.labels", "metadata.finalizers[0]", "spec.replicas"]
    refused = await api.put(f"{path}/w/scale", {"metadata": {"name": "w", "uid": "other"}, "spec": {}})
    assert f"Precondition failed: UID in precondition: other, UID in object meta: {uid}" in refused.message
    assert (await api.get(f"{path}/w")).json["spec"]["replicas"] == 1


BOUND = [
    (
        {"kind": "Pod", "name": "n"},
        {},
        500,
        'target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"',
    ),
    (
        {"kind": "x"},
        {},
        500,
        '[target.kind: Unsupported value: "x": supported values: "Node", "<empty>", target.name: ',
    ),
    ({"name": "n"}, {"resourceVersion": "1"}, 409, "Precondition failed: ResourceVersion in precondition: 1, "),
    ({"name": "n"}, {"uid": "other"}, 409, "Precondition failed: UID in precondition: other, "),
]


@pytest.mark.parametrize(("target", "metadata", "code", "text"), BOUND)
async def test_a_binding_that_does_not_hold(api, target, metadata, code, text):
    await api.post(PODS, {"metadata": {"name": "p"}, "spec": TEMPLATE["spec"]})
    binding = {"metadata": {"name": "p", **metadata}, "target": target}
    refused = await api.post(f"{PODS}/p/binding", binding)
    assert refused.status == code
    assert text in refused.message
    assert "nodeName" not in (await api.get(f"{PODS}/p")).json["spec"]


async def test_an_eviction_is_tried_out_or_not(api):
    await _running(api, "p")
    refused = await api.post(f"{PODS}/p/eviction?dryRun=All", _eviction("p", dryRun=["All", "All"]))
    assert (refused.status, refused.message) == (
        500,
        "Non-matching dry-run options in request and content: [All] and [All All]",
    )


async def test_an_eviction_that_is_tried_out_spends_nothing(api):
    await _running(api, "p")
    await _budget(api, "b", 1)
    for path, body in (
        (f"{PODS}/p/eviction?dryRun=All", _eviction("p")),
        (f"{PODS}/p/eviction", _eviction("p", dryRun=["All"])),
    ):
        answer = await api.post(path, body)
        assert (answer.status, answer.json["status"]) == (201, "Success")
    assert (await api.get(f"{PODS}/p")).json["status"].get("conditions")[0]["type"] == "Ready"
    assert (await api.get(f"{BUDGETS}/b")).json["status"]["disruptionsAllowed"] == 1
    assert (await api.post(f"{PODS}/p/eviction", _eviction("p", "policy/v1beta1"))).status == 201
    spent = (await api.get(f"{BUDGETS}/b")).json["status"]
    assert (spent["disruptionsAllowed"], list(spent["disruptedPods"])) == (0, ["p"])
    assert spent["conditions"][0]["reason"] == "InsufficientPods"


async def test_an_eviction_keeps_to_its_preconditions(api):
    await _running(api, "p")
    found = (await api.get(f"{PODS}/p")).json["metadata"]
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        refused = await api.post(f"{PODS}/p/eviction", _eviction("p", preconditions=wrong))
        assert (refused.status, refused.json["reason"]) == (409, "Conflict")
        assert "in the precondition" in refused.message
    right = {"uid": found["uid"], "resourceVersion": found["resourceVersion"]}
    assert (await api.post(f"{PODS}/p/eviction", _eviction("p", preconditions=right))).status == 201
    assert (await api.post(f"{PODS}/p/eviction", _eviction("q"))).message == (
        "name in URL does not match name in Eviction object"
    )


async def test_two_budgets_are_one_too_many(api):
    await _running(api, "p")
    await _budget(api, "a", 1)
    await _budget(api, "b", 1)
    answer = await api.post(f"{PODS}/p/eviction", _eviction("p"))
    assert (answer.status, answer.json["status"], answer.json["code"]) == (500, "Failure", 500)
    assert (await api.get(f"{PODS}/p")).status == 200


async def test_pods_that_are_not_ready_go_where_the_budget_lets_them(api):
    await _running(api, "sick", ready=False)
    await _budget(api, "b", 0)
    await api.patch(f"{BUDGETS}/b/status", {"status": {"currentHealthy": 0}})
    refused = await api.post(f"{PODS}/sick/eviction", _eviction("sick"))
    assert refused.status == 429
    assert refused.json["details"]["causes"][0]["reason"] == "DisruptionBudget"
    await api.patch(f"{BUDGETS}/b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
    assert (await api.post(f"{PODS}/sick/eviction", _eviction("sick"))).status == 201


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "[]: Forbidden: at most one of `sinceTime` or"),
        ("stream=All", 422, "stream: Forbidden: may not be specified"),
        ("tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("container=nope", 400, "container nope is not valid for pod p"),
    ],
)
async def test_options_of_logs_are_checked(api, query, code, said):
    await api.post(PODS, api.pod("p"))
    refused = await api.get(f"{PODS}/p/log?{query}")
    assert (refused.status, said in refused.message) == (code, True), refused.message


async def test_who_takes_plain_text_alone_gets_no_log(api):
    assert (await api.get(f"{PODS}/nope/log", accept="text/plain")).status == 406
    assert (await api.get(f"{PODS}/nope/log", accept="text/plain, */*")).status == 404


async def test_a_container_must_be_named_where_there_are_several(api):
    body = api.pod("p")
    body["spec"]["containers"].append({"name": "d", "image": "busybox"})
    body["spec"]["initContainers"] = [{"name": "i", "image": "busybox"}]
    await api.post(PODS, body)
    refused = await api.get(f"{PODS}/p/log")
    assert refused.message == "a container name must be specified for pod p, choose one of: [i c d]"


async def test_ephemeral_containers_are_only_added(api):
    await api.post(PODS, api.pod("p"))
    added = {"name": "d", "image": "busybox", "targetContainerName": "c"}
    path = f"{PODS}/p/ephemeralcontainers"
    kind = "strategic-merge-patch+json"
    made = await api.patch(path, {"spec": {"ephemeralContainers": [added]}}, kind)
    assert made.status == 200
    assert made.json["spec"]["ephemeralContainers"][0]["terminationMessagePath"] == "/dev/termination-log"
    for change, said in (
        (
            {"ephemeralContainers": [{"name": "d", "image": "other"}]},
            'existing ephemeral containers "d" may not be changed',
        ),
        (
            {"ephemeralContainers": [{"name": "e", "image": "i", "ports": [{"containerPort": 1}]}]},
            "cannot be set for an Ephemeral Container",
        ),
        (
            {"ephemeralContainers": [{"name": "e", "image": "i", "targetContainerName": "x"}]},
            "targetContainerName: Not found",
        ),
        ({"ephemeralContainers": [{"name": "c", "image": "i"}]}, 'Duplicate value: "c"'),
    ):
        refused = await api.patch(path, {"spec": change}, kind)
        assert (refused.status, said in refused.message) == (422, True), refused.message
    gone = await api.patch(path, [{"op": "remove", "path": "/spec/ephemeralContainers"}], "json-patch+json")
    assert 'existing ephemeral containers "d" may not be removed' in gone.message
