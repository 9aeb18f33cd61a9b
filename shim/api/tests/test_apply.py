"""Ownership of fields as upstream records it; the conflicts and the fieldsV1 are those recorded from it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from shim.api.apply import apply, manager_of, update_managed_fields
from shim.api.decoding import prune
from shim.api.fieldset import FieldSet, show
from shim.api.schema import Definition
from shim.api.status import ApiError
from shim.codec.definitions import load_schema


def definition(group: str, version: str, kind: str) -> Definition:
    found = load_schema().for_kind(group, version, kind)
    assert found
    return found


CONFIG_MAP = definition("", "v1", "ConfigMap")
DEPLOYMENT = definition("apps", "v1", "Deployment")


UNTYPED = "failed to create typed patch object (/a; /v1, Kind=ConfigMap)"


def config(**data: str) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, **({"data": data} if data else {})}


def applied(live: Any, patch: Any, manager: str, kind: Definition = CONFIG_MAP, *, force: bool = False) -> Any:
    before = copy.deepcopy((live, patch))
    result = apply(live, patch, definition=kind, manager=manager, force=force)
    assert (live, patch) == before
    stored = prune(kind, result)
    stored["metadata"]["uid"] = "u"
    return stored


def owned(obj: Any) -> Any:
    entries = obj["metadata"].get("managedFields") or []
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


def test_appliers_own_what_they_apply_and_give_up_what_they_no_longer_do() -> None:
    obj = applied(None, config(a="1", b="1"), "one")
    assert owned(obj) == {("one", "Apply"): {"f:data": {"f:a": {}, "f:b": {}}}}
    obj = applied(obj, config(c="2"), "two")
    assert obj["data"] == {"a": "1", "b": "1", "c": "2"}

    obj = applied(obj, config(b="1"), "one")
    assert obj["data"] == {"b": "1", "c": "2"}
    obj = applied(obj, config(), "one")
    assert obj["data"] == {"c": "2"}
    assert owned(obj) == {("two", "Apply"): {"f:data": {"f:c": {}}}}


def test_a_field_of_another_is_refused_or_taken_by_force() -> None:
    obj = applied(None, config(a="1", b="1"), "one")
    with pytest.raises(ApiError) as refused:
        applied(obj, config(a="2"), "two")
    assert refused.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'Apply failed with 1 conflict: conflict with "one": .data.a',
        "reason": "Conflict",
        "details": {
            "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}]
        },
        "code": 409,
    }
    obj = applied(obj, config(a="2"), "two", force=True)
    assert obj["data"] == {"a": "2", "b": "1"}
    assert owned(obj) == {("one", "Apply"): {"f:data": {"f:b": {}}}, ("two", "Apply"): {"f:data": {"f:a": {}}}}


def test_the_same_value_can_have_two_owners_and_stays_until_both_gave_it_up() -> None:
    obj = applied(applied(None, config(a="1"), "one"), config(a="1"), "two")
    obj = applied(obj, config(), "one")
    assert obj["data"] == {"a": "1"}
    assert "data" not in applied(obj, config(), "two")


def test_an_update_takes_fields_and_an_apply_conflicts_with_it() -> None:
    obj = applied(None, config(a="1"), "one")
    edited = {**obj, "data": {"a": "9", "z": "1"}}
    edited["metadata"] = {
        **obj["metadata"],
        "managedFields": update_managed_fields(obj, edited, definition=CONFIG_MAP, manager="edit"),
    }
    assert owned(edited) == {("edit", "Update"): {"f:data": {"f:a": {}, "f:z": {}}}}
    with pytest.raises(ApiError, match=r'conflict with "edit" using v1: \.data\.a'):
        applied(edited, config(a="1"), "one")


def deployment(*containers: Any, **spec: Any) -> Any:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": list(containers)}}
    body = {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": body}


def test_items_of_keyed_lists_are_owned_one_by_one() -> None:
    main = {"name": "c", "image": "i1", "ports": [{"containerPort": 80}]}
    obj = applied(None, deployment(main, replicas=2), "one", DEPLOYMENT)
    assert owned(obj)["one", "Apply"]["f:spec"]["f:template"]["f:spec"] == {
        "f:containers": {
            'k:{"name":"c"}': {
                ".": {},
                "f:image": {},
                "f:name": {},
                "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
            }
        }
    }
    obj = applied(obj, deployment(main, {"name": "side", "image": "i2"}), "two", DEPLOYMENT)
    assert [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]] == ["c", "side"]
    with pytest.raises(ApiError) as refused:
        applied(obj, deployment({**main, "image": "i9"}), "three", DEPLOYMENT)
    path = '.spec.template.spec.containers[name="c"].image'
    assert refused.value.message == (
        f'Apply failed with 2 conflicts: conflicts with "one":\n- {path}\nconflicts with "two":\n- {path}'
    )
    obj = applied(obj, deployment(main), "one", DEPLOYMENT)
    assert "replicas" not in obj["spec"]
    assert len(obj["spec"]["template"]["spec"]["containers"]) == 2


def test_a_create_owns_what_is_set_and_not_what_every_object_has() -> None:
    pod = definition("", "v1", "Pod")
    given = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    new = {"apiVersion": "v1", "kind": "Pod", **prune(pod, given)}
    (entry,) = update_managed_fields(None, new, definition=pod, manager="kubectl-create") or []
    assert entry.pop("time")
    container = {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}
    assert entry == {
        "manager": "kubectl-create",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:containers": {'k:{"name":"c"}': container}},
        },
    }


def test_a_subresource_is_a_manager_of_its_own_and_ignored_fields_are_nobodys() -> None:
    old = config(a="1")
    old["metadata"]["managedFields"] = update_managed_fields(None, old, definition=CONFIG_MAP, manager="m")
    new = {**old, "data": {"a": "2"}, "immutable": True}
    entries = update_managed_fields(
        old, new, definition=CONFIG_MAP, manager="m", subresource="status", ignored=("data",)
    )
    assert entries
    assert [(e["manager"], e.get("subresource"), e["fieldsV1"]) for e in entries] == [
        ("m", None, {"f:data": {".": {}, "f:a": {}}}),
        ("m", "status", {"f:immutable": {}}),
    ]


def test_an_empty_list_switches_tracking_off() -> None:
    old = applied(None, config(a="1"), "one")
    new = {**old, "metadata": {**old["metadata"], "managedFields": []}}
    assert update_managed_fields(old, new, definition=CONFIG_MAP, manager="m") is None


def test_not_more_than_ten_updaters_are_kept() -> None:
    obj = config(a="0")
    for number in range(15):
        new = {**obj, "data": {**obj["data"], f"k{number}": "x"}}
        entries = update_managed_fields(obj, new, definition=CONFIG_MAP, manager=f"m{number:02}")
        obj = {**new, "metadata": {**new["metadata"], "managedFields": entries}}
    names = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert len(names) == 10
    assert "ancient-changes" in names


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        ({**config(), "dat": {}}, 500, f"{UNTYPED}: .dat: field not declared in schema"),
        ({**config(), "data": {"a": 1}}, 500, f"{UNTYPED}: .data.a: expected string, got "),
        ({**config(), "metadata": {"name": "a", "managedFields": []}}, 400, "metadata.managedFields must be nil"),
    ],
)
def test_a_patch_that_is_none_is_refused(patch: Any, code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        applied(None, patch, "one")
    assert refused.value.code == code
    assert refused.value.message.startswith(message)


def test_kubectl_may_take_over_what_its_client_side_apply_set() -> None:
    last = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1"}}'
    live = config(a="1")
    live["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": last}
    live["metadata"]["managedFields"] = update_managed_fields(
        None, live, definition=CONFIG_MAP, manager="kubectl-client-side-apply"
    )
    live["metadata"]["uid"] = "u"
    with pytest.raises(ApiError):
        applied(live, config(a="2"), "other")
    obj = applied(live, config(a="2"), "kubectl")
    assert obj["data"] == {"a": "2"}
    assert '"a":"2"' in obj["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]


def test_who_a_request_without_a_manager_is_from() -> None:
    assert manager_of("", "kubectl/v1.36.2 (linux/amd64) kubernetes/abc") == "kubectl"
    assert manager_of("me", "kubectl/v1") == "me"


def test_sets_read_and_write_as_fields_and_show_as_paths() -> None:
    fields = {"f:a": {".": {}, "f:b": {}}, "f:c": {'k:{"name":"x"}': {"f:d": {}}, 'v:"s"': {}}}
    found = FieldSet.from_fields(fields)
    assert found.to_fields() == fields
    assert [show(path) for path in found.paths()] == [".a", ".a.b", '.c[="s"]', '.c[name="x"].d']
    assert (found - found).to_fields() == {}
    assert (found & FieldSet.from_fields({"f:a": {"f:b": {}}})).to_fields() == {"f:a": {"f:b": {}}}


def test_fields_are_written_in_the_order_of_their_names() -> None:
    """Clients compare managedFields as bytes; a set has an order of its own in each process."""
    inner = FieldSet(["f:c", "f:a"], {"f:b": FieldSet(["f:z", "f:y"])})
    key = 'k:{"name":"a"}'
    written = FieldSet(["f:b", "f:x", key], {"f:b": inner, key: FieldSet(["f:name"])}).to_fields()
    assert json.dumps(written) == json.dumps(written, sort_keys=True)
    assert list(written) == ["f:b", "f:x", key]
    assert FieldSet.from_fields(written).to_fields() == written


def test_conflicts_are_told_in_the_order_of_managers_as_json() -> None:
    obj = applied(None, deployment(replicas=1), "m", DEPLOYMENT)
    scaled = {**obj["metadata"]["managedFields"][0], "subresource": "scale"}
    obj["metadata"]["managedFields"].append(scaled)
    with pytest.raises(ApiError) as refused:
        applied(obj, deployment(replicas=2), "n", DEPLOYMENT)
    lines = refused.value.message.splitlines()
    assert lines[0].endswith('conflicts with "m" with subresource "scale":')
    assert lines[2] == 'conflicts with "m":'


def test_a_value_without_a_schema_may_become_one_of_another_type() -> None:
    def owners(before: Any, after: Any) -> Any:
        obj = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "spec": before}
        obj["metadata"]["managedFields"] = update_managed_fields(None, obj, definition=None, manager="one")
        entries = update_managed_fields(obj, {**obj, "spec": after}, definition=None, manager="two")
        return {entry["manager"]: entry["fieldsV1"] for entry in entries or ()}

    whole = {"f:spec": {}}
    assert owners({"a": 1}, [1]) == {"two": whole}
    assert owners([1], {"a": 1}) == {"two": {"f:spec": {".": {}, "f:a": {}}}}
    assert owners(1, {"a": {"b": 2}}) == {"two": {"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}}}}


def test_items_that_become_two_of_one_name_lose_what_they_had() -> None:
    port = {"containerPort": 80, "protocol": "TCP"}
    one = applied(None, deployment({"name": "c", "ports": [port]}), "one", DEPLOYMENT)
    two = copy.deepcopy(one)
    two["spec"]["template"]["spec"]["containers"][0]["ports"] = [port, {**port, "name": "p"}]

    def owners(new: Any, old: Any) -> dict[str, Any]:
        entries = update_managed_fields(old, new, definition=DEPLOYMENT, manager="two") or []
        found = {}
        for entry in entries:
            of_c = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']
            found[entry["manager"]] = of_c.get("f:ports")
        return found

    key = 'k:{"containerPort":80,"protocol":"TCP"}'
    assert owners(two, one) == {"one": None, "two": {key: {}}}
    two["metadata"]["managedFields"] = update_managed_fields(one, two, definition=DEPLOYMENT, manager="two")
    assert owners(one, two)["two"] == {key: {".": {}, "f:containerPort": {}, "f:protocol": {}}}
