"""What a definition makes the server serve, version by version."""

from __future__ import annotations

from typing import Any

import pytest

from shim.codec.definitions import load_schema
from shim.resources.custom.rows import kinds
from shim.resources.strategy import Resource

NAMES = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}


def _version(name: str, fields: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "properties": fields or {}}}
    return {"name": name, "served": True, "storage": False, "schema": schema, **more}


def _rows(*versions: dict[str, Any]) -> dict[str, Resource]:
    crd = {"spec": {"group": "example.com", "scope": "Namespaced", "names": NAMES, "versions": [*versions]}}
    return {kind.row.version: kind.row for kind in kinds(crd, load_schema(), 0, None)}


@pytest.mark.parametrize(
    ("versions", "warning"),
    [
        (
            [_version("v1beta1", deprecated=True), _version("v1beta2"), _version("v1"), _version("v2", storage=True)],
            "example.com/v1beta1 Widget is deprecated; use example.com/v2 Widget",
        ),
        (
            [_version("v1", deprecated=True), _version("v1beta1"), _version("v2", storage=True, served=False)],
            "example.com/v1 Widget is deprecated",  # what is older, or not served, is no way out
        ),
        ([_version("v1", deprecated=True, deprecationWarning="use a gadget", storage=True)], "use a gadget"),
        ([_version("v1", storage=True)], ""),
    ],
)
def test_who_uses_a_deprecated_version_hears_which_to_use_instead(versions: list[dict[str, Any]], warning: str) -> None:
    assert _rows(*versions)[versions[0]["name"]].deprecated == warning


def test_what_the_version_that_is_kept_does_not_know_is_lost() -> None:
    """Versions without a converter differ in nothing but their names; what only one knows, the other does not keep."""
    ours = {"a": {"type": "string"}, "same": {"type": "string", "default": "ours"}, "mine": {"default": 1}}
    theirs = {"b": {"type": "string", "default": "b"}, "same": {"type": "string", "default": "theirs"}}
    row = _rows(_version("v1beta1", ours), _version("v1", theirs, storage=True))["v1beta1"]
    assert row.preserve is not None
    assert row.revive is not None
    head = {"kind": "Widget", "apiVersion": "example.com/v1beta1", "metadata": {"name": "w"}}
    kept = row.preserve({**head, "a": "x", "mine": 1, "same": "ours"})
    assert kept == {**head, "apiVersion": "example.com/v1", "b": "b", "same": "ours"}
    assert row.revive(kept) == {**head, "same": "ours"}
