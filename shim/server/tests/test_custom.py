"""Custom resources, from the definition to the last instance."""

from __future__ import annotations

import asyncio
from typing import Any

from shim.server.tests.conftest import Api
from shim.server.tests.widgets import CRDS, Widgets, conditions, eventually


async def test_objects_are_pruned_defaulted_and_kept(api: Api) -> None:
    widgets = await Widgets(api).define()
    made = await widgets.create(size=3, extra=1, any={"x": {"y": 1}}, port="http")
    assert made.status == 201
    assert 'unknown field \\"spec.extra\\"' in made.headers["Warning"]
    assert made.json["spec"] == {"size": 3, "any": {"x": {"y": 1}}, "port": "http", "color": "red"}
    assert made.json["metadata"]["generation"] == 1
    assert (await api.get(widgets.path("a"))).json == made.json
    listed = (await api.get(widgets.path())).json
    assert (listed["kind"], listed["items"]) == ("WidgetList", [made.json])
    strict = await api.post(widgets.path() + "?fieldValidation=Strict", widgets.widget("b", size=1, extra=1))
    assert strict.status == 400
    assert strict.message.endswith('strict decoding error: unknown field "spec.extra"')


async def test_status_and_scale_are_subresources(api: Api) -> None:
    widgets = await Widgets(api).define()
    await widgets.create(size=3)
    changed = await api.patch(widgets.path("a/status"), {"status": {"phase": "Up", "replicas": 2}, "spec": {"size": 9}})
    assert (changed.json["status"], changed.json["spec"]["size"]) == ({"phase": "Up", "replicas": 2}, 3)
    assert changed.json["metadata"]["generation"] == 1
    assert (await api.get(widgets.path("a/scale"))).status == 500  # nobody has said how many there shall be
    scaled = await api.patch(widgets.path("a/scale"), {"spec": {"replicas": 4}})
    assert (scaled.json["spec"], scaled.json["status"]) == ({"replicas": 4}, {"replicas": 2})
    found = (await api.get(widgets.path("a"))).json
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 2)


async def test_an_object_is_born_with_the_status_that_its_schema_gives(api: Api) -> None:
    """As Gateways are, of which nobody has said yet whether they are accepted."""
    widgets = Widgets(api)
    widgets.properties["status"] |= {"default": {"phase": "Waiting"}}
    await widgets.define()
    sent = {**widgets.widget("a", size=1), "status": {"phase": "Up"}}
    assert (await api.post(widgets.path(), sent)).json["status"] == {"phase": "Waiting"}
    applied = await api.patch(widgets.path("b") + "?fieldManager=m", widgets.widget("b", size=1), "apply-patch+yaml")
    assert applied.json["status"] == {"phase": "Waiting"}
    assert [item["status"] for item in (await api.get(widgets.path())).json["items"]] == [{"phase": "Waiting"}] * 2
    assert "f:status" not in applied.json["metadata"]["managedFields"][0]["fieldsV1"], "nobody has set it"


async def test_others_are_answered_while_a_large_object_is_worked_on(api: Api) -> None:
    widgets = await Widgets(api).define()
    body = widgets.widget("a", size=1, parts=[{"name": f"part-{at:05}", "weight": at} for at in range(4000)])
    how: Any = (widgets.path("a") + "?fieldManager=m", body, "apply-patch+yaml")
    assert (await api.patch(*how)).status == 201
    again, others = asyncio.create_task(api.patch(*how)), 0
    while not again.done():
        others += (await api.get("/version")).status == 200
    assert again.result().status == 200
    assert others > 4  # in the loop there is a turn before it and one after it
    made = await api.post(widgets.path(), {**body, "metadata": {"name": "b"}})
    assert (made.status, len(made.json["spec"]["parts"])) == (201, 4000)
    changed = await api.put(widgets.path("b"), {**made.json, "spec": {**made.json["spec"], "color": "blue"}})
    assert (changed.status, changed.json["metadata"]["generation"]) == (200, 2)
    refused = await api.put(widgets.path("b"), {**changed.json, "spec": {"size": "x" * 200_000}})
    assert refused.status == 422


async def test_a_subresource_that_a_version_lacks_is_not_found_by_name(api: Api) -> None:
    widgets = await Widgets(api).define()
    absent = await api.get(widgets.path("w/bogus"))
    assert (absent.status, absent.message) == (404, f'widgets.{widgets.group} "w" not found')


async def test_values_are_judged_in_upstreams_words(api: Api) -> None:
    widgets = await Widgets(api).define()
    unchecked = (
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
        "correct the existing errors to complete validation"
    )
    for spec, complaint in (
        ({}, f"[spec.size: Required value, {unchecked}]"),
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        (
            {"size": "x"},
            f'[spec.size: Invalid value: "string": spec.size in body must be of type integer: "string", {unchecked}]',
        ),
        (
            {"size": 1, "color": "green"},
            f'[spec.color: Unsupported value: "green": supported values: "red", "blue", {unchecked}]',
        ),
        ({"size": 1, "names": ["a", "a"]}, 'spec.names[1]: Duplicate value: "a"'),
        ({"size": 1, "parts": [{"name": "p"}, {"name": "p"}]}, 'spec.parts[1]: Duplicate value: {"name":"p"}'),
        ({"size": 1, "names": ["0123456789"]}, f"[spec.names[0]: Too long: may not be more than 9 bytes, {unchecked}]"),
        ({"size": 7}, "spec.size: Invalid value: not in red"),
    ):
        refused = await widgets.create(**spec)
        assert (refused.status, refused.json["reason"]) == (422, "Invalid")
        assert refused.message == f'Widget.{widgets.group} "a" is invalid: {complaint}'


async def test_transitions_are_judged_where_the_old_value_is_known(api: Api) -> None:
    widgets = await Widgets(api).define()
    assert (await widgets.create(size=5, parts=[{"name": "p", "weight": 2}])).status == 201
    shrunk = await api.patch(widgets.path("a"), {"spec": {"size": 4}})
    assert shrunk.message.endswith("spec: Invalid value: no shrinking")
    parts = [{"name": "q", "weight": 0}, {"name": "p", "weight": 1}]
    lighter = await api.patch(widgets.path("a"), {"spec": {"parts": parts}})
    assert lighter.message.endswith("spec.parts[1]: Forbidden: failed rule: self.weight >= oldSelf.weight")
    parts[1]["weight"] = 3
    assert (await api.patch(widgets.path("a"), {"spec": {"parts": parts}})).status == 200


async def test_patches_applied_configurations_and_media(api: Api) -> None:
    widgets = await Widgets(api).define()
    body = {**widgets.widget("ap", size=4, names=["z"])}
    applied = await api.patch(widgets.path("ap") + "?fieldManager=m", body, "apply-patch+yaml")
    assert applied.status == 201
    owned = applied.json["metadata"]["managedFields"][0]
    assert owned["fieldsV1"] == {"f:spec": {"f:names": {'v:"z"': {}}, "f:size": {}}}
    conflict = await api.patch(
        widgets.path("ap") + "?fieldManager=o", {**body, "spec": {"size": 5}}, "apply-patch+yaml"
    )
    assert conflict.status == 409
    forced = await api.patch(
        widgets.path("ap") + "?fieldManager=o&force=true", {**body, "spec": {"size": 5}}, "apply-patch+yaml"
    )
    assert (forced.status, forced.json["spec"]["size"]) == (200, 5)
    stale = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
    assert (await api.patch(widgets.path("ap") + "?fieldManager=o", stale, "apply-patch+yaml")).status == 409
    assert (await api.patch(widgets.path("ap"), {"spec": {"size": 5}}, "strategic-merge-patch+json")).status == 415
    protobuf = "application/vnd.kubernetes.protobuf"
    assert (await api.ask("POST", widgets.path(), b"k8s\0", content=protobuf)).status == 415
    assert (await api.get(widgets.path("ap"), accept=protobuf)).status == 406
    assert (await api.put(widgets.path("ap"), body)).status == 422  # an update says what it changes


async def test_what_is_particular_about_owning_custom_fields(api: Api) -> None:
    widgets = await Widgets(api).define()
    apply, path = "apply-patch+yaml", widgets.path("ap")
    null = await api.patch(f"{path}?fieldManager=m", widgets.widget("ap", size=4, names=None), apply)
    assert (null.status, null.json["details"]["causes"][0]["field"]) == (422, "spec.names")
    filled = await api.patch(f"{path}?fieldManager=m", widgets.widget("ap", size=4, color=None), apply)
    assert (filled.status, filled.json["spec"]) == (201, {"size": 4, "color": "red"})
    kept = await api.patch(path, {"metadata": {"managedFields": []}})
    assert [each["manager"] for each in kept.json["metadata"]["managedFields"]] == ["m"]
    body = widgets.widget("ap")
    body["metadata"]["labels"] = {"a": "b"}
    told = await api.patch(f"{path}/status?fieldManager=n", {**body, "status": {"phase": "Up"}}, apply)
    assert "labels" not in told.json["metadata"]
    owned = {each["manager"]: each["fieldsV1"] for each in told.json["metadata"]["managedFields"]}
    assert owned["n"] == {"f:status": {"f:phase": {}}}
    gone = await api.patch(path, {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in gone.json["metadata"]


async def test_tables_and_selectors(api: Api) -> None:
    widgets = await Widgets(api).define()
    await widgets.create("a", size=3)
    await widgets.create("b", size=4, color="blue")
    table = (await api.get(widgets.path(), accept="application/json;as=Table;v=v1;g=meta.k8s.io")).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Age"]
    assert [row["cells"][:2] for row in table["rows"]] == [["a", 3], ["b", 4]]
    blue = (await api.get(widgets.path() + "?fieldSelector=spec.color%3Dblue")).json
    assert [item["metadata"]["name"] for item in blue["items"]] == ["b"]
    assert (await api.get(widgets.path() + "?fieldSelector=spec.size%3D3")).status == 400
    events = await api.watch(widgets.path() + "?fieldSelector=spec.color%3Dblue")
    assert [event["object"]["metadata"]["name"] for event in events] == ["b"]


async def test_discovery_and_openapi_follow_the_definition(api: Api) -> None:
    widgets = await Widgets(api, versions=2).define()
    found = (await api.get(f"/apis/{widgets.group}")).json
    assert [each["version"] for each in found["versions"]] == ["v2", "v1"]
    resources = (await api.get(f"/apis/{widgets.group}/v1")).json["resources"]
    assert [each["name"] for each in resources] == ["widgets", "widgets/status", "widgets/scale"]
    name = ".".join([*reversed(widgets.group.split(".")), "v1", "Widget"])
    document = (await api.get(f"/openapi/v3/apis/{widgets.group}/v1")).json
    assert document["components"]["schemas"][name]["properties"]["spec"]["properties"]["size"]["maximum"] == 10
    assert name in (await api.get("/openapi/v2")).json["definitions"]
    operations = document["paths"][f"/apis/{widgets.group}/v1/namespaces/{{namespace}}/widgets/{{name}}"]
    assert {each.partition("/")[2] for each in operations["patch"]["requestBody"]["content"]} == {
        *("apply-patch+yaml", "json-patch+json", "merge-patch+json")
    }
    assert set(operations["get"]["responses"]["200"]["content"]) == {"application/json", "application/yaml"}
    everywhere = document["paths"][f"/apis/{widgets.group}/v1/widgets"]["get"]["operationId"]
    assert everywhere.startswith("list")
    assert everywhere.endswith("V1WidgetForAllNamespaces")
    index = (await api.get("/openapi/v3")).json["paths"]

    def stop(spec: dict[str, Any]) -> None:
        spec["versions"][1]["served"] = False

    await widgets.change(stop)
    await eventually(lambda: api.get(f"/apis/{widgets.group}/v2"), 404)
    assert (await api.get(f"/openapi/v3/apis/{widgets.group}/v2")).status == 404
    assert (await api.get(widgets.path(version="v2"))).status == 404
    assert f"apis/{widgets.group}/v2" in index
    assert f"apis/{widgets.group}/v2" not in (await api.get("/openapi/v3")).json["paths"]


async def test_versions_show_one_object(api: Api) -> None:
    widgets = await Widgets(api, versions=2).define()
    await widgets.create(size=3)
    shown = (await api.get(widgets.path("a", "v2"))).json
    assert (shown["apiVersion"], shown["spec"]["size"]) == (f"{widgets.group}/v2", 3)
    assert (await api.patch(widgets.path("a", "v2"), {"spec": {"size": 4}})).json["apiVersion"] == f"{widgets.group}/v2"
    assert (await api.get(widgets.path("a"))).json["spec"]["size"] == 4
    assert [item["apiVersion"] for item in (await api.get(widgets.path("", "v2"))).json["items"]] == [
        f"{widgets.group}/v2"
    ]

    def swap(spec: dict[str, Any]) -> None:
        spec["versions"][0]["storage"], spec["versions"][1]["storage"] = False, True

    changed = await widgets.change(swap)
    assert changed["status"]["storedVersions"] == ["v1", "v2"]
    assert (await api.get(widgets.path("a"))).json["apiVersion"] == f"{widgets.group}/v1"


async def test_stored_objects_get_new_defaults(api: Api) -> None:
    widgets = await Widgets(api).define()
    await widgets.create(size=3)

    def add(spec: dict[str, Any]) -> None:
        schema = spec["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"]["properties"]["shape"] = {"type": "string", "default": "round"}

    await widgets.change(add)
    for _ in range(500):
        found = (await api.get(widgets.path("a"))).json
        if "shape" in found["spec"]:
            break
        await asyncio.sleep(0.01)
    assert found["spec"]["shape"] == "round"
    assert (await api.get(widgets.path())).json["items"][0]["spec"]["shape"] == "round"
    events = await api.watch(widgets.path())
    assert events[0]["object"]["spec"]["shape"] == "round"


async def test_names_are_given_once(api: Api) -> None:
    first = await Widgets(api).define()
    second = Widgets(api)
    second.group, second.name = first.group, f"gadgets.{first.group}"
    second.crd["metadata"]["name"] = second.name
    second.crd["spec"] |= {"group": first.group, "names": {"plural": "gadgets", "kind": "Widget"}}
    assert (await api.post(CRDS, second.crd)).status == 201
    crd = await second.until(lambda crd: bool((crd.get("status") or {}).get("conditions")))
    told = {each["type"]: (each["status"], each["reason"], each["message"]) for each in crd["status"]["conditions"]}
    assert told["NamesAccepted"] == ("False", "ListKindConflict", '"WidgetList" is already in use')
    assert told["Established"] == ("False", "NotAccepted", "not all names are accepted")
    assert (await api.delete(f"{CRDS}/{first.name}")).status == 200
    await second.until(lambda crd: "Established" in conditions(crd))


async def test_instances_go_with_their_definition(api: Api) -> None:
    widgets = await Widgets(api).define()
    await widgets.create("plain", size=3)
    held = widgets.widget("held", size=3)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    assert (await api.post(widgets.path(), held)).status == 201
    gone = (await api.delete(f"{CRDS}/{widgets.name}")).json
    assert gone["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    await eventually(lambda: api.get(widgets.path("plain")), 404)
    refused = await eventually(lambda: widgets.create("late", size=3), 403)
    assert refused.message.endswith(
        '"late" is forbidden: create not allowed while custom resource definition is terminating'
    )
    assert (await api.patch(widgets.path("held"), {"metadata": {"finalizers": None}})).status == 200
    await eventually(lambda: api.get(f"{CRDS}/{widgets.name}"), 404)
    await eventually(lambda: api.get(f"/apis/{widgets.group}/v1"), 404)
    again = await Widgets.define(widgets)  # and nothing is left of the first
    assert (await api.get(again.path())).json["items"] == []
