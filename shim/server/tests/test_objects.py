"""Objects are made, read, changed and removed, by the rules of optimistic concurrency."""

from __future__ import annotations

import asyncio

from shim.server import registry

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"


async def test_what_is_created_is_read_back_byte_for_byte(api):
    made = await api.post(CONFIGMAPS, api.configmap("a", data={"k": "v"}))
    assert made.status == 201
    metadata = made.json["metadata"]
    assert metadata["namespace"] == api.namespace
    assert metadata["uid"]
    assert metadata["creationTimestamp"]
    read = await api.get(f"{CONFIGMAPS}/a")
    assert read.status == 200
    assert read.data == made.data


async def test_a_name_is_given_once(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    again = await api.post(CONFIGMAPS, api.configmap("a"))
    assert again.status == 409
    assert again.message == 'configmaps "a" already exists'
    assert again.json["reason"] == "AlreadyExists"


async def test_a_name_can_be_generated(api):
    made = await api.post(CONFIGMAPS, {"metadata": {"generateName": "gen-"}})
    name = made.json["metadata"]["name"]
    assert name.startswith("gen-")
    assert len(name) == len("gen-") + 5


async def test_names_that_are_taken_are_generated_anew_eight_times(api, monkeypatch):
    suffixes = iter(["taken"] * 9 + ["fresh"])
    monkeypatch.setattr(registry, "_suffix", lambda: next(suffixes))
    assert (await api.post(CONFIGMAPS, {"metadata": {"generateName": "gen-"}})).json["metadata"]["name"] == "gen-taken"
    refused = await api.post(CONFIGMAPS, {"metadata": {"generateName": "gen-"}})
    text = 'configmaps "gen-taken" already exists, the server was not able to generate a unique name for the object'
    assert (refused.status, refused.message, refused.headers["Retry-After"]) == (409, text, "1")
    assert refused.json["details"] == {"name": "gen-taken", "kind": "configmaps", "retryAfterSeconds": 1}
    assert (await api.post(CONFIGMAPS, {"metadata": {"generateName": "gen-"}})).json["metadata"]["name"] == "gen-fresh"


async def test_what_of_metadata_is_the_servers_to_say_has_no_owner_in_a_new_object(api):
    said = {"name": "a", "deletionTimestamp": "2024-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3, "selfLink": "x"}
    made = (await api.post(CONFIGMAPS, {"metadata": said, "data": {"k": "v"}})).json["metadata"]
    assert not {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"} & made.keys()
    assert made["managedFields"][0]["fieldsV1"].keys() == {"f:data"}


async def test_nobody_but_a_delete_can_end_an_object(api):
    made = (await api.post(CONFIGMAPS, api.configmap("a"))).json
    made["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    refused = await api.put(f"{CONFIGMAPS}/a", made)
    assert refused.status == 422
    assert 'metadata.deletionTimestamp: Invalid value: "2024-01-01T00:00:00Z": field is immutable' in refused.message


async def test_an_update_from_an_old_version_is_refused(api):
    first = (await api.post(CONFIGMAPS, api.configmap("a"))).json
    assert (await api.put(f"{CONFIGMAPS}/a", {**first, "data": {"k": "1"}})).status == 200
    late = await api.put(f"{CONFIGMAPS}/a", {**first, "data": {"k": "2"}})
    assert late.status == 409
    assert "the object has been modified" in late.message


async def test_an_update_without_a_version_wins(api):
    await api.post(CONFIGMAPS, api.configmap("a", data={"k": "1"}))
    answer = await api.put(f"{CONFIGMAPS}/a", api.configmap("a", data={"k": "2"}))
    assert answer.json["data"] == {"k": "2"}


async def test_an_update_that_changes_nothing_writes_nothing(api):
    made = (await api.post(CONFIGMAPS, api.configmap("a", data={"k": "1"}))).json
    again = (await api.put(f"{CONFIGMAPS}/a", made)).json
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_the_name_in_body_and_path_must_agree(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    answer = await api.put(f"{CONFIGMAPS}/a", api.configmap("b"))
    assert answer.status == 400
    assert answer.message == "the name of the object (b) does not match the name on the URL (a)"


async def test_many_patches_at_once_all_count(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    answers = await asyncio.gather(
        *(api.patch(f"{CONFIGMAPS}/a", {"data": {f"k{number}": "v"}}) for number in range(20))
    )
    assert {answer.status for answer in answers} == {200}
    assert len((await api.get(f"{CONFIGMAPS}/a")).json["data"]) == 20


async def test_three_kinds_of_patch(api):
    await api.post(CONFIGMAPS, api.configmap("a", data={"k": "1", "gone": "x"}))
    merged = await api.patch(f"{CONFIGMAPS}/a", {"data": {"gone": None}})
    assert merged.json["data"] == {"k": "1"}
    replaced = await api.patch(
        f"{CONFIGMAPS}/a", [{"op": "replace", "path": "/data/k", "value": "2"}], "json-patch+json"
    )
    assert replaced.json["data"] == {"k": "2"}
    strategic = await api.patch(f"{CONFIGMAPS}/a", {"data": {"n": "3"}}, "strategic-merge-patch+json")
    assert strategic.json["data"] == {"k": "2", "n": "3"}
    failed = await api.patch(f"{CONFIGMAPS}/a", [{"op": "test", "path": "/data/k", "value": "no"}], "json-patch+json")
    assert failed.status == 422


async def test_a_dry_run_leaves_nothing(api):
    made = await api.post(f"{CONFIGMAPS}?dryRun=All", api.configmap("dry"))
    assert made.status == 201
    assert (await api.get(f"{CONFIGMAPS}/dry")).status == 404
    refused = await api.post(f"{CONFIGMAPS}?dryRun=Some", api.configmap("dry"))
    assert refused.status == 422


async def test_unknown_fields_are_refused_warned_of_or_ignored(api):
    body = api.configmap("a", dataa={})
    strict = await api.post(f"{CONFIGMAPS}?fieldValidation=Strict", body)
    assert strict.status == 400
    assert strict.message.endswith('strict decoding error: unknown field "dataa"')
    warned = await api.post(f"{CONFIGMAPS}?fieldValidation=Warn", body)
    assert warned.headers["Warning"] == '299 - "unknown field \\"dataa\\""'
    assert "dataa" not in warned.json


async def test_a_value_of_a_wrong_type_is_refused(api):
    answer = await api.post(CONFIGMAPS, api.configmap("a", data={"k": 1}))
    assert answer.status == 400
    assert "json: cannot unmarshal number into Go struct field ConfigMap.data of type string" in answer.message


async def test_another_kind_is_refused(api):
    answer = await api.post(CONFIGMAPS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})
    assert answer.status == 400
    assert "converting (v1.Secret) to (core.ConfigMap): unknown conversion" in answer.message


async def test_a_body_that_is_too_large_is_refused(api):
    answer = await api.post(CONFIGMAPS, api.configmap("big", data={"k": "x" * (3 << 20)}))
    assert answer.status == 413


async def test_the_generation_of_a_slice_counts_what_is_taken_back(api):
    path = "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices"
    slice_ = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.1.1"]}]}
    assert (await api.post(path, slice_)).json["metadata"]["generation"] == 1
    slice_["endpoints"][0]["deprecatedTopology"] = {"a": "b"}
    written = (await api.put(f"{path}/s", slice_)).json
    assert written["metadata"]["generation"] == 2
    assert "deprecatedTopology" not in written["endpoints"][0]


async def test_generation_counts_changes_of_the_spec_alone(api):
    path = "/apis/apps/v1/namespaces/{ns}/deployments"
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    made = await api.post(path, {"metadata": {"name": "web"}, "spec": spec})
    assert made.json["metadata"]["generation"] == 1
    assert (await api.patch(f"{path}/web", {"spec": {"replicas": 3}})).json["metadata"]["generation"] == 2
    assert (await api.patch(f"{path}/web", {"metadata": {"labels": {"a": "b"}}})).json["metadata"]["generation"] == 2
    status = await api.patch(f"{path}/web/status", {"status": {"replicas": 3}, "spec": {"replicas": 9}})
    assert status.json["metadata"]["generation"] == 2
    assert status.json["spec"]["replicas"] == 3
    assert status.json["status"]["replicas"] == 3
    scale = await api.get(f"{path}/web/scale")
    assert scale.json["spec"] == {"replicas": 3}
    assert scale.json["status"] == {"replicas": 3, "selector": "app=web"}
    scaled = await api.patch(f"{path}/web/scale", {"spec": {"replicas": 5}})
    assert scaled.json["kind"] == "Scale"
    assert (await api.get(f"{path}/web")).json["spec"]["replicas"] == 5


async def test_finalizers_hold_an_object(api):
    body = {"metadata": {"name": "held", "finalizers": ["example.com/f"]}}
    await api.post(CONFIGMAPS, body)
    deleted = await api.delete(f"{CONFIGMAPS}/held")
    assert deleted.json["metadata"]["deletionTimestamp"]
    assert (await api.get(f"{CONFIGMAPS}/held")).status == 200
    await api.patch(f"{CONFIGMAPS}/held", {"metadata": {"finalizers": None}})
    assert (await api.get(f"{CONFIGMAPS}/held")).status == 404


async def test_deleting_answers_with_a_status(api):
    made = (await api.post(CONFIGMAPS, api.configmap("a"))).json
    wrong = await api.delete(f"{CONFIGMAPS}/a", {"preconditions": {"uid": "other"}})
    assert wrong.status == 409
    deleted = await api.delete(f"{CONFIGMAPS}/a")
    assert deleted.json["status"] == "Success"
    assert deleted.json["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert (await api.delete(f"{CONFIGMAPS}/a")).status == 404


async def test_the_propagation_policy_becomes_a_finalizer(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    deleted = await api.delete(f"{CONFIGMAPS}/a?propagationPolicy=Foreground")
    assert deleted.json["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_a_collection_is_deleted_by_label(api):
    for number in range(4):
        labels = {"parity": "even" if number % 2 == 0 else "odd"}
        await api.post(CONFIGMAPS, {"metadata": {"name": f"c{number}", "labels": labels}})
    gone = await api.delete(f"{CONFIGMAPS}?labelSelector=parity%3Deven")
    assert [item["metadata"]["name"] for item in gone.json["items"]] == ["c0", "c2"]
    left = await api.get(CONFIGMAPS)
    assert [item["metadata"]["name"] for item in left.json["items"]] == ["c1", "c3"]


async def test_nothing_is_made_in_a_namespace_that_is_missing_or_going(api):
    missing = await api.post("/api/v1/namespaces/nowhere/configmaps", api.configmap("a"))
    assert missing.message == 'namespaces "nowhere" not found'
    namespace = "/api/v1/namespaces/{ns}"
    going = (await api.delete(namespace)).json
    assert going["status"]["phase"] == "Terminating"
    late = await api.post(CONFIGMAPS, api.configmap("late"))
    assert late.status == 403
    await api.put(f"{namespace}/finalize", {"metadata": {"name": api.namespace}, "spec": {"finalizers": []}})
    assert (await api.get(namespace)).status == 404


async def test_a_warning_comes_with_a_refusal_too(api):
    missing = await api.get("/api/v1/namespaces/{ns}/endpoints/none")
    assert missing.status == 404
    told = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert missing.headers["Warning"] == f'299 - "{told}"'


async def test_who_deletes_a_job_is_told_what_becomes_of_its_pods(api):
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    jobs = "/apis/batch/v1/namespaces/{ns}/jobs"
    for name in ("a", "b"):
        await api.post(jobs, {"metadata": {"name": name}, "spec": {"template": template}})
    said = await api.delete(f"{jobs}/a", {"propagationPolicy": "Background"})
    assert (said.status, "Warning" in said.headers) == (200, False)
    unsaid = await api.delete(f"{jobs}/b")
    assert unsaid.headers["Warning"].startswith('299 - "child pods are preserved by default')


async def test_admin_access_to_devices_is_for_labelled_namespaces(api):
    request = {"name": "r", "exactly": {"deviceClassName": "c", "adminAccess": True}}
    spec = {"devices": {"requests": [request]}}
    claims = "/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaims"
    refused = await api.post(claims, {"metadata": {"name": "a"}, "spec": spec})
    assert refused.status == 422
    [cause] = refused.json["details"]["causes"]
    assert cause == {
        "reason": "FieldValueForbidden",
        "message": "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label "
        "on the containing namespace",
        "field": "spec.devices.requests[0].adminAccess",
    }
    templates = "/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaimtemplates"
    assert (await api.post(templates, {"metadata": {"name": "a"}, "spec": {"spec": spec}})).status == 422
    label = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    await api.patch("/api/v1/namespaces/{ns}", label)
    assert (await api.post(claims, {"metadata": {"name": "a"}, "spec": spec})).status == 201
