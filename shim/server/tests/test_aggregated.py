"""Aggregated discovery says what legacy discovery does."""

from __future__ import annotations

from shim.server.aggregated import aggregated


def test_subresources_stand_below_what_they_belong_to():
    listed = [
        {"name": "pods/log", "kind": "Log", "verbs": ["get"]},
        {
            "name": "pods",
            "singularName": "pod",
            "namespaced": True,
            "kind": "Pod",
            "verbs": ["get"],
            "shortNames": ["po"],
        },
        {"name": "pods/scale", "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get"]},
    ]
    [pods] = aggregated(listed)
    assert (pods["resource"], pods["scope"], pods["shortNames"]) == ("pods", "Namespaced", ["po"])
    assert [each["subresource"] for each in pods["subresources"]] == ["log", "scale"]
    assert pods["subresources"][1]["responseKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
