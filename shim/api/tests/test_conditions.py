from __future__ import annotations

from typing import Any

from shim.api.conditions import find, is_true, set_condition


def test_a_condition_is_added_once_and_changes_in_place() -> None:
    conditions: list[Any] = []
    assert set_condition(conditions, "Ready", "False", "Starting", "not yet")
    conditions[0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    assert not set_condition(conditions, "Ready", "False", "Starting", "not yet")
    assert set_condition(conditions, "Ready", "False", "Pulling", "still not")
    assert conditions[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert set_condition(conditions, "Ready", "True", "", "")
    assert conditions[0]["lastTransitionTime"] != "2026-01-01T00:00:00Z"
    assert len(conditions) == 1


def test_a_condition_is_found_by_its_type() -> None:
    obj = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert find(obj, "Ready") == {"type": "Ready", "status": "True"}
    assert is_true(obj, "Ready")
    assert find(obj, "Other") is None
    assert find({}, "Ready") is None
