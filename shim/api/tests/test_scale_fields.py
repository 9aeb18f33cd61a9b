"""What a scale says of its replicas is told in its object's entries."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from shim.api.scale_fields import to_parent, to_scale

PATH = ("spec", "replicas")


def entry(manager: str, operation: str = "Update", version: str = "apps/v1", **more: Any) -> Any:
    fields = more.pop("fields", {"f:spec": {"f:replicas": {}}})
    return {"manager": manager, "operation": operation, "apiVersion": version, "fieldsV1": fields, **more}


def test_only_who_set_the_replicas_is_known_to_the_scale() -> None:
    both = {"f:spec": {"f:replicas": {}, "f:paused": {}}}
    found = to_scale([entry("a", fields=both), entry("b", fields={"f:status": {}})], PATH)
    assert found == [entry("a", version="autoscaling/v1")]


def test_what_is_taken_leaves_the_rest() -> None:
    both = {"f:spec": {"f:replicas": {}, "f:paused": {}}}
    parent = [entry("a", "Apply", fields=both, time="t"), entry("b", time="t")]
    scale = [entry("c", version="autoscaling/v1", subresource="scale", time="u")]
    assert to_parent(parent, scale, PATH, "apps/v1") == [
        entry("a", "Apply", fields={"f:spec": {"f:paused": {}}}, time="t"),
        entry("c", subresource="scale"),
    ]


def test_who_applied_and_still_owns_it_is_left_alone() -> None:
    parent = [entry("a", "Apply", time="t")]
    assert to_parent(parent, to_scale(parent, PATH), PATH, "apps/v1") == parent


@given(some.lists(some.tuples(some.sampled_from("abc"), some.sampled_from(("Apply", "Update"))), unique=True))
def test_a_look_at_the_scale_changes_no_owner(who: list[tuple[str, str]]) -> None:
    parent = [entry(manager, operation, time="t") for manager, operation in who]
    back = to_parent(parent, to_scale(parent, PATH), PATH, "apps/v1")
    assert sorted((each["manager"], each["operation"]) for each in back) == sorted(who)
