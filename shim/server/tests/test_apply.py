"""Server-side apply, and the record of who set what."""

from __future__ import annotations

import orjson
import pytest

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"


async def _apply(api, manager, data, *, force=False, name="a"):
    query = f"fieldManager={manager}{'&force=true' if force else ''}"
    body = api.configmap(name, data=data)
    return await api.patch(f"{CONFIGMAPS}/{name}?{query}", orjson.dumps(body), "apply-patch+yaml")


def _managers(answer):
    return [(entry["manager"], entry["operation"]) for entry in answer.json["metadata"]["managedFields"]]


async def test_applying_creates_and_then_merges(api):
    made = await _apply(api, "one", {"a": "1", "b": "1"})
    assert made.status == 201
    merged = await _apply(api, "two", {"c": "2"})
    assert merged.status == 200
    assert merged.json["data"] == {"a": "1", "b": "1", "c": "2"}
    less = await _apply(api, "one", {"a": "1"})
    assert less.json["data"] == {"a": "1", "c": "2"}
    assert _managers(less) == [("one", "Apply"), ("two", "Apply")]


async def test_what_others_own_is_taken_by_force_alone(api):
    await _apply(api, "one", {"a": "1"})
    refused = await _apply(api, "two", {"a": "2"})
    assert refused.status == 409
    assert refused.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    taken = await _apply(api, "two", {"a": "2"}, force=True)
    assert taken.json["data"] == {"a": "2"}


async def test_applying_the_same_again_writes_nothing(api):
    first = (await _apply(api, "one", {"a": "1"})).json
    again = (await _apply(api, "one", {"a": "1"})).json
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_other_writes_are_recorded_under_the_programs_name(api):
    made = await api.post(CONFIGMAPS, api.configmap("a", data={"k": "v"}), headers={"User-Agent": "kubectl/v1.36"})
    assert _managers(made) == [("kubectl", "Update")]
    patched = await api.patch(f"{CONFIGMAPS}/a?fieldManager=editor", {"data": {"n": "2"}})
    assert sorted(_managers(patched)) == [("editor", "Update"), ("kubectl", "Update")]


async def test_an_applier_must_name_itself(api):
    refused = await api.patch(f"{CONFIGMAPS}/a", orjson.dumps(api.configmap("a")), "apply-patch+yaml")
    assert refused.status == 422
    assert "fieldManager: Required value: is required for apply patch" in refused.message


DEPLOYMENTS = "/apis/apps/v1/namespaces/{ns}/deployments"


def _deployment(**spec):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }


def _owners_of_replicas(deployment):
    entries = deployment["metadata"]["managedFields"]
    return [(each["manager"], "time" in each) for each in entries if "f:replicas" in each["fieldsV1"].get("f:spec", {})]


async def test_who_scales_owns_the_replicas(api):
    path, scale = f"{DEPLOYMENTS}/d", {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}}
    await api.patch(f"{path}?fieldManager=author", orjson.dumps(_deployment(replicas=1)), "apply-patch+yaml")
    await api.patch(f"{path}/scale?fieldManager=hand", {"spec": {"replicas": 2}})
    assert _owners_of_replicas((await api.get(path)).json) == [("hand", False)]
    wanted = orjson.dumps({**scale, "spec": {"replicas": 3}})
    refused = await api.patch(f"{path}/scale?fieldManager=robot", wanted, "apply-patch+yaml")
    conflict = 'conflict with "hand" with subresource "scale" using autoscaling/v1: .spec.replicas'
    assert refused.message == f"Apply failed with 1 conflict: {conflict}"
    taken = await api.patch(f"{path}/scale?fieldManager=robot&force=true", wanted, "apply-patch+yaml")
    assert (taken.status, taken.json["spec"], "managedFields" in taken.json["metadata"]) == (
        200,
        {"replicas": 3},
        False,
    )
    assert _owners_of_replicas((await api.get(path)).json) == [("robot", False)]


async def test_scaling_what_nobody_counted_is_nobodys(api):
    path = f"{DEPLOYMENTS}/d"
    await api.patch(f"{path}?fieldManager=author", orjson.dumps(_deployment()), "apply-patch+yaml")
    await api.patch(f"{path}/scale?fieldManager=hand", {"spec": {"replicas": 2}})
    assert _owners_of_replicas((await api.get(path)).json) == []


async def test_a_status_has_no_labels_to_give(api):
    path = f"{DEPLOYMENTS}/d"
    await api.patch(f"{path}?fieldManager=author", orjson.dumps(_deployment()), "apply-patch+yaml")
    said = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"l": "1"}}}
    told = orjson.dumps({**said, "status": {"replicas": 1}})
    found = (await api.patch(f"{path}/status?fieldManager=controller", told, "apply-patch+yaml")).json
    assert "labels" not in found["metadata"]
    entry = next(each for each in found["metadata"]["managedFields"] if each["manager"] == "controller")
    assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}


async def test_a_configuration_must_say_what_it_is(api):
    for said, shown in (({"apiVersion": "v1", "kind": "Secret"}, "/v1, Kind=Secret"), ({}, "/, Kind=")):
        refused = await api.patch(f"{CONFIGMAPS}/a?fieldManager=m", orjson.dumps(said), "apply-patch+yaml")
        assert (refused.status, refused.message) == (400, f"invalid object type: {shown}")
    refused = await api.patch(f"{CONFIGMAPS}/a?fieldManager=m", b"[]", "apply-patch+yaml")
    assert refused.message.startswith("error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot")


async def test_what_is_gone_is_not_made_again_by_mistake(api):
    body = api.configmap("a")
    body["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111"
    refused = await api.patch(f"{CONFIGMAPS}/a?fieldManager=m", orjson.dumps(body), "apply-patch+yaml")
    assert refused.status == 409
    assert refused.message.endswith("and no existing object was found")


async def test_owners_are_forgotten_on_demand(api):
    await _apply(api, "one", {"a": "1"})
    forgotten = await api.patch(f"{CONFIGMAPS}/a", {"metadata": {"managedFields": []}})
    assert "managedFields" not in forgotten.json["metadata"]
    changed = await api.patch(f"{CONFIGMAPS}/a", {"data": {"a": "2"}})
    assert "managedFields" not in changed.json["metadata"]


async def test_keys_that_stand_twice_in_a_configuration_are_told_of(api):
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: one\n  a: two\n"
    path = "/api/v1/namespaces/{ns}/configmaps/c?fieldManager=m&fieldValidation="
    said = 'error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key "a" already set in map'
    refused = await api.ask("PATCH", path + "Strict", text, content="application/apply-patch+yaml")
    assert (refused.status, refused.message) == (400, f"error strict decoding YAML: {said}")
    warned = await api.ask("PATCH", path + "Warn", text, content="application/apply-patch+yaml")
    assert warned.status == 201
    assert warned.headers["Warning"] == '299 - "line 7: key \\"a\\" already set in map"'
    ignored = await api.ask("PATCH", path + "Ignore", text, content="application/apply-patch+yaml")
    assert "Warning" not in ignored.headers


async def test_data_of_any_shape_is_owned_as_a_whole(api):
    path = "/apis/apps/v1/namespaces/{ns}/controllerrevisions"
    made = await api.post(path, {"metadata": {"name": "r"}, "revision": 1, "data": {"a": {"b": 1}}})
    assert made.json["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {}, "f:revision": {}}


OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}


async def test_an_owner_named_twice_is_one(api):
    body = api.configmap("a")
    body["metadata"]["ownerReferences"] = [OWNER, OWNER, {**OWNER, "name": "p"}]
    for answer, after in (
        (await api.post(CONFIGMAPS, body), ""),
        (await api.put(f"{CONFIGMAPS}/a", body), ""),
        (await api.patch(f"{CONFIGMAPS}/a", {"metadata": body["metadata"]}), " after mutating admission happens"),
    ):
        assert f"contains duplicate entries{after}; API server dedups" in answer.headers["Warning"]
        assert [each["name"] for each in answer.json["metadata"]["ownerReferences"]] == ["o", "p"]


STATUSES = [
    ("/api/v1/namespaces/{ns}/pods", "Pod", {"containers": [{"name": "c", "image": "i"}]}, "ownerReferences", [OWNER]),
    (
        "/apis/storage.k8s.io/v1/volumeattachments",
        "VolumeAttachment",
        {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "p"}},
        "finalizers",
        ["a.b/c"],
    ),
]


@pytest.mark.parametrize(("path", "kind", "spec", "field", "value"), STATUSES)
async def test_what_of_metadata_a_status_cannot_give(api, path, kind, spec, field, value):
    body = {
        "apiVersion": "v1" if kind == "Pod" else "storage.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "s"},
        "spec": spec,
    }
    assert (await api.post(path, body)).status == 201
    body["metadata"][field] = value
    told = await api.patch(f"{path}/s/status?fieldManager=m", orjson.dumps(body), "apply-patch+yaml")
    assert (told.status, field in told.json["metadata"], ("m", "Apply") in _managers(told)) == (200, False, False)


async def test_a_scale_is_warned_of_what_is_wrong_with_the_template(api):
    body = _deployment(replicas=1)
    body["spec"]["template"]["spec"]["containers"] = [
        {"name": f"c{port}", "image": "i", "ports": [{"containerPort": port, "name": "p"}]} for port in (80, 81)
    ]
    made = await api.post(DEPLOYMENTS, body)
    scaled = await api.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 2}})
    assert "duplicate port name" in made.headers["Warning"]
    assert "duplicate port name" in scaled.headers["Warning"]


async def test_what_a_service_no_longer_shows_stays_its_writers(api):
    body = {"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "externalName": "a.b"}}
    body["spec"]["internalTrafficPolicy"] = "Local"
    made = (await api.post("/api/v1/namespaces/{ns}/services", body)).json
    assert "internalTrafficPolicy" not in made["spec"]
    assert "f:internalTrafficPolicy" in made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


async def test_who_sends_an_empty_list_that_is_always_printed_owns_it(api):
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles"
    made = (await api.post(roles, {"metadata": {"name": "a"}, "rules": []})).json
    assert made["rules"] is None
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:rules": {}}
    made = (await api.post(roles, {"metadata": {"name": "b", "labels": {}}})).json
    assert not {"labels", "managedFields"} & made["metadata"].keys()


async def test_who_sends_a_field_of_a_feature_that_is_off_owns_it_although_it_is_dropped(api):
    container = {"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGUSR1"}}
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [container], "schedulingGroup": {"podGroupName": "g"}}}
    made = (await api.post("/api/v1/namespaces/{ns}/pods", pod)).json
    assert "lifecycle" not in made["spec"]["containers"][0]
    assert "schedulingGroup" not in made["spec"]
    owned = made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert owned["f:schedulingGroup"] == {".": {}, "f:podGroupName": {}}
    assert "f:lifecycle" in owned["f:containers"]['k:{"name":"c"}']


async def test_duplicates_are_owned_as_one_and_nameless_items_by_nobody(api):
    accounts = "/api/v1/namespaces/{ns}/serviceaccounts"
    nameless = {"metadata": {"name": "a"}, "secrets": [{}], "automountServiceAccountToken": True}
    assert "managedFields" not in (await api.post(accounts, nameless)).json["metadata"]
    path = "/apis/apps/v1/namespaces/{ns}/controllerrevisions"
    made = (await api.post(path, {"metadata": {"name": "a"}, "revision": 1, "data": {"x": {"y": 1}}})).json
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {}, "f:revision": {}}


async def test_a_configuration_of_what_is_there_need_not_name_it(api):
    unnamed = orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "2"}})
    path = f"{CONFIGMAPS}/a?fieldManager=m"
    assert (await api.patch(path, unnamed, "apply-patch+yaml")).message.endswith("name must be provided")
    await _apply(api, "one", {"a": "1"})
    merged = await api.patch(path, unnamed, "apply-patch+yaml")
    assert (merged.status, merged.json["data"]) == (200, {"a": "1", "b": "2"})
    other = await api.patch(path, orjson.dumps(api.configmap("b")), "apply-patch+yaml")
    assert "does not match the name on the URL" in other.message


async def test_owners_that_a_client_writes_must_be_readable(api):
    owners = (await _apply(api, "one", {"a": "1"})).json["metadata"]["managedFields"]
    for wrong in ({"fieldsV1": {"bad": {}}}, {"operation": "Guess"}, {"fieldsType": "FieldsV2"}):
        change = {"metadata": {"managedFields": [{**owners[0], "manager": "other", **wrong}]}}
        kept = await api.patch(f"{CONFIGMAPS}/a", change)
        assert kept.json["metadata"]["managedFields"] == owners
    for field, limit in (("manager", 128), ("subresource", 256)):
        change = {"metadata": {"managedFields": [{**owners[0], field: "x" * (limit + 1)}]}}
        refused = await api.patch(f"{CONFIGMAPS}/a", change)
        assert refused.json["details"]["causes"][0]["field"] == f"metadata.managedFields[0].{field}"
        assert refused.message.endswith(f"Too long: may not be more than {limit} bytes")
