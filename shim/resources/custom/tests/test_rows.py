"""What a definition makes the server serve, version by version."""

from __future__ import annotations

from typing import Any

import pytest

from shim.codec.definitions import load_schema
from shim.resources.custom.rows import kinds


def _version(name: str, **more: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {"name": name, "served": True, "storage": False, "schema": schema, **more}


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
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    crd = {"spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}}
    rows = {kind.row.version: kind.row for kind in kinds(crd, load_schema(), 0, None)}
    assert rows[versions[0]["name"]].deprecated == warning
