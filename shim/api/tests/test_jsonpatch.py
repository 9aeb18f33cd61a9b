from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.api.jsonpatch import PatchError, apply, merge_patch, read


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}], {"a": [1]}),
        ({"a": {"b/c": 1}}, [{"op": "replace", "path": "/a/b~1c", "value": 2}], {"a": {"b/c": 2}}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        (
            {"a": {"b": [1]}},
            [{"op": "copy", "from": "/a", "path": "/c"}, {"op": "add", "path": "/c/b/-", "value": 2}],
            {"a": {"b": [1]}, "c": {"b": [1, 2]}},
        ),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
        ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 1}}], {"b": 1}),
    ],
)
def test_operations_change_a_copy(old: Any, patch: Any, new: Any) -> None:
    before = copy.deepcopy(old)
    assert apply(old, read(patch)) == new
    assert old == before


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "test", "path": "/a", "value": True}, "testing value /a failed: test failed"),
        (
            {"op": "test", "path": "/x/y", "value": 1},
            "test operation does not apply: is missing path: /x/y: missing value",
        ),
        (
            {"op": "remove", "path": "/x"},
            "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            {"op": "remove", "path": "/l/7"},
            "error in remove for path: '/l/7': Unable to access invalid index: 7: invalid index referenced",
        ),
        (
            {"op": "replace", "path": "/x/y", "value": 1},
            "replace operation does not apply: doc is missing path: /x/y: missing value",
        ),
        (
            {"op": "add", "path": "/x/y", "value": 1},
            'add operation does not apply: doc is missing path: "/x/y": missing value',
        ),
        (
            {"op": "add", "path": "/l/x", "value": 1},
            "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": "
            "invalid syntax",
        ),
        (
            {"op": "move", "from": "/x", "path": "/y"},
            "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            {"op": "copy", "from": "/x/y", "path": "/y"},
            "copy operation does not apply: doc is missing from path: /x/y: missing value",
        ),
        ({"op": "unheard", "path": "/a"}, "Unexpected kind: unheard"),
    ],
)
def test_what_does_not_apply_is_refused(operation: Any, why: str) -> None:
    with pytest.raises(PatchError) as refused:
        apply({"a": 1, "l": []}, [operation])
    assert (refused.value.code, str(refused.value)) == (422, why)


def test_a_patch_that_is_no_list_is_a_bad_request() -> None:
    with pytest.raises(PatchError) as refused:
        read({"op": "add"})
    assert refused.value.code == 400


def test_a_merge_patch_removes_with_null_and_shares_what_it_leaves() -> None:
    old = {"a": {"b": 1, "c": 2}, "d": [1], "e": {"x": {}}}
    new = merge_patch(old, {"a": {"b": None}, "d": [2], "f": {"g": None, "h": 1}})
    assert new == {"a": {"c": 2}, "d": [2], "e": {"x": {}}, "f": {"h": 1}}
    assert new["e"] is old["e"]
    assert old["a"] == {"b": 1, "c": 2}


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        ({"op": "replace", "path": "/new", "value": 1}, {"a": 1, "new": 1}),
        ({"op": "add", "path": "/new"}, {"a": 1, "new": None}),
        ({"op": "copy", "from": "/none", "path": "/new"}, {"a": 1, "new": None}),
    ],
)
def test_a_key_that_is_not_there_counts_as_null(operation: Any, left: Any) -> None:
    assert apply({"a": 1}, read([operation])) == left


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"op": "add"}, "object into Go value of type []handlers.jsonPatchOp"),
        ([5], "number into Go value of type handlers.jsonPatchOp"),
        ([{"op": "add", "path": 5}], "number into Go struct field jsonPatchOp.path of type string"),
    ],
)
def test_what_is_no_patch_is_refused(patch: Any, why: str) -> None:
    with pytest.raises(PatchError) as refused:
        read(patch)
    assert (refused.value.code, str(refused.value)) == (400, f"error decoding patch: json: cannot unmarshal {why}")
