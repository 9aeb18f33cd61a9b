"""The merges upstream documents, on the schemas upstream publishes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.api.jsonpatch import PatchError
from shim.api.strategic import merge
from shim.codec.definitions import load_schema


def pod_spec(original: Any, patch: Any) -> Any:
    definition = load_schema().for_kind("", "v1", "Pod")
    before = copy.deepcopy(original)
    merged = merge(definition, {"spec": original}, {"spec": patch})["spec"]
    assert original == before
    return merged


def names(items: Any) -> list[str]:
    return [item["name"] for item in items]


TWO = {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "2"}]}


def test_keyed_lists_merge_by_key_and_new_elements_come_where_the_patch_puts_them() -> None:
    merged = pod_spec(TWO, {"containers": [{"name": "a", "image": "9", "env": [{"name": "Y", "value": "2"}]}]})
    assert merged["containers"][0] == {
        "name": "a",
        "image": "9",
        "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}],
    }
    assert merged["containers"][1] is TWO["containers"][1]
    assert names(pod_spec(TWO, {"containers": [{"name": "c"}]})["containers"]) == ["c", "a", "b"]


def test_a_list_without_a_strategy_is_replaced() -> None:
    assert pod_spec({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}) == {"tolerations": [{"key": "b"}]}


def test_directives_delete_and_replace() -> None:
    assert names(pod_spec(TWO, {"containers": [{"$patch": "delete", "name": "a"}]})["containers"]) == ["b"]
    replaced = pod_spec(TWO, {"containers": [{"$patch": "replace"}, {"name": "z"}]})
    assert replaced["containers"] == [{"name": "z"}]
    assert pod_spec({"securityContext": {"runAsUser": 1}}, {"securityContext": {"$patch": "delete"}}) == {
        "securityContext": {}
    }
    assert pod_spec({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"$patch": "replace", "b": "2"}}) == {
        "nodeSelector": {"b": "2"}
    }


def test_the_order_of_elements_can_be_set() -> None:
    patch = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "9"}]}
    merged = pod_spec(TWO, patch)["containers"]
    assert (names(merged), merged[0]["image"]) == (["b", "a"], "9")
    only_order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    assert names(pod_spec(TWO, only_order)["containers"]) == ["b", "a"]
    with pytest.raises(PatchError, match="doesn't match"):
        pod_spec(TWO, {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "z"}]})


def test_primitive_lists_merge_and_elements_can_be_deleted() -> None:
    definition = load_schema().for_kind("", "v1", "Pod")
    merged = merge(definition, {"metadata": {"finalizers": ["a", "b"]}}, {"metadata": {"finalizers": ["c", "a"]}})
    assert sorted(merged["metadata"]["finalizers"]) == ["a", "b", "c"]
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert merge(definition, {"metadata": {"finalizers": ["a", "b"]}}, gone)["metadata"]["finalizers"] == ["b"]


def test_retain_keys_drops_what_it_does_not_name() -> None:
    definition = load_schema().for_kind("apps", "v1", "Deployment")
    original = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert merge(definition, original, patch) == {"spec": {"strategy": {"type": "Recreate"}}}
    with pytest.raises(PatchError) as refused:
        merge(definition, original, {"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}})
    assert refused.value.code == 400


def test_null_deletes_and_is_dropped_from_what_is_new() -> None:
    assert pod_spec({"nodeName": "n", "hostname": "h"}, {"nodeName": None}) == {"hostname": "h"}
    assert pod_spec({}, {"nodeSelector": {"a": None, "b": "1"}}) == {"nodeSelector": {"b": "1"}}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"containers": [{"image": "x"}]}, r"map: map\[image:x\] does not contain declared merge key: name"),
        ({"containers": [{"name": "a", "$patch": "twist"}]}, r"unknown patch type: twist"),
        ({"$setElementOrder/containers": {"name": "b"}}, r"expected a \[\]interface \{\}"),
    ],
)
def test_malformed_patches_are_refused(patch: Any, message: str) -> None:
    with pytest.raises(PatchError, match=message):
        pod_spec(TWO, patch)
