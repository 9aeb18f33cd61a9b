"""What only pods have: binding, eviction, graceful deletion."""

from __future__ import annotations

PODS = "/api/v1/namespaces/{ns}/pods"


async def _bound(api, name="p", **status):
    await api.post(PODS, api.pod(name))
    target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
    answer = await api.post(f"{PODS}/{name}/binding", {"metadata": {"name": name}, "target": target})
    assert answer.status == 201
    if status:
        assert (await api.patch(f"{PODS}/{name}/status", {"status": status})).status == 200


async def test_a_pod_is_bound_once(api):
    await _bound(api)
    pod = (await api.get(f"{PODS}/p")).json
    assert pod["spec"]["nodeName"] == "n1"
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"
    again = await api.post(f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"name": "n2"}})
    assert again.status == 409
    assert again.message.endswith('pod p is already assigned to node "n1"')


async def test_pods_are_found_by_node_and_phase(api):
    await _bound(api, phase="Running")
    for query in ("spec.nodeName%3Dn1", "status.phase%3DRunning"):
        found = (await api.get(f"{PODS}?fieldSelector={query}")).json["items"]
        assert [item["metadata"]["name"] for item in found] == ["p"]


async def test_a_pod_that_runs_nowhere_goes_at_once(api):
    await api.post(PODS, api.pod("p"))
    assert (await api.delete(f"{PODS}/p")).json["kind"] == "Pod"
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_a_pod_on_a_node_is_given_time_which_can_only_get_shorter(api):
    await _bound(api)
    marked = (await api.delete(f"{PODS}/p")).json["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 30
    longer = (await api.delete(f"{PODS}/p?gracePeriodSeconds=60")).json["metadata"]
    assert longer["deletionGracePeriodSeconds"] == 30
    shorter = (await api.delete(f"{PODS}/p?gracePeriodSeconds=5")).json["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert shorter["deletionTimestamp"] < marked["deletionTimestamp"]
    await api.delete(f"{PODS}/p?gracePeriodSeconds=0")
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_watchers_see_that_no_grace_is_left_before_the_pod_is_gone(api):
    await _bound(api)
    marked = (await api.delete(f"{PODS}/p")).json["metadata"]
    await api.delete(f"{PODS}/p?gracePeriodSeconds=0")
    events = await api.watch(f"{PODS}?resourceVersion={marked['resourceVersion']}")
    seen = [(event["type"], event["object"]["metadata"]["deletionGracePeriodSeconds"]) for event in events]
    assert seen == [("MODIFIED", 0), ("DELETED", 0)]


async def test_an_eviction_says_why_the_pod_goes(api):
    await _bound(api, phase="Running")
    evicted = await api.post(f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert evicted.status == 201
    pod = (await api.get(f"{PODS}/p")).json
    assert pod["metadata"]["deletionTimestamp"]
    assert {"EvictionByEvictionAPI"} <= {condition.get("reason") for condition in pod["status"]["conditions"]}


async def test_a_budget_that_is_spent_forbids_eviction(api):
    body = api.pod("p")
    body["metadata"]["labels"] = {"app": "web"}
    await api.post(PODS, body)
    await api.patch(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    budgets = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    await api.post(budgets, {"metadata": {"name": "b"}, "spec": spec})
    status = {"observedGeneration": 1, "desiredHealthy": 1, "currentHealthy": 1, "disruptionsAllowed": 0}
    status["expectedPods"] = 1
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    await api.patch(f"{PODS}/p/status", {"status": ready})
    assert (await api.patch(f"{budgets}/b/status", {"status": status})).status == 200
    refused = await api.post(f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert refused.status == 429
    assert refused.json["details"]["causes"][0]["message"].endswith("needs 1 healthy pods and has 1 currently")
    await api.patch(f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}})
    assert (await api.post(f"{PODS}/p/eviction", {"metadata": {"name": "p"}})).status == 201


async def test_streams_that_are_not_there_are_refused_by_name(api):
    await api.post(PODS, api.pod("p"))
    refused = await api.get(f"{PODS}/p/log", headers={"Impersonate-User": "alice"})
    assert refused.status == 403
    assert 'cannot get resource "pods/log"' in refused.message


async def test_ports_to_forward_are_numbers(api):
    await api.post(PODS, api.pod("p"))
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for asked, why in (("80,http", '"http": invalid syntax'), ("70000", '"70000": value out of range')):
        refused = await api.get(f"{PODS}/p/portforward?ports={asked}", headers=upgrade)
        assert refused.status == 400
        assert refused.message.endswith(f"cannot convert to []int32: strconv.ParseUint: parsing {why}")
