"""OpenAPI documents of several servers become one."""

from __future__ import annotations

from shim.server.aggregation.merging import merged, part_of

OWN = {
    "swagger": "2.0",
    "paths": {"/own": {}},
    "definitions": {"Meta": {"a": 1}, "Meta_v2": {"b": 1}, "Same": {"c": 1}},
}


def _refers(name: str) -> dict[str, object]:
    return {"schema": {"$ref": f"#/definitions/{name}"}}


def test_a_part_is_the_paths_of_its_group_version_and_what_they_need():
    document = {
        "paths": {"/apis/g/v1": {}, "/apis/g/v1/x": _refers("X"), "/apis/g/v10/x": {}, "/version": {}},
        "definitions": {"X": {"items": [_refers("Y")]}, "Y": _refers("X"), "Z": {}},
    }
    part = part_of(document, "/apis/g/v1", "tag")
    assert list(part.paths) == ["/apis/g/v1", "/apis/g/v1/x"]
    assert (list(part.definitions), part.tag) == (["X", "Y"], "tag")


def test_what_another_server_means_differently_has_another_name():
    theirs = {
        "paths": {"/apis/g/v1/x": _refers("X"), "/apis/g/v1/own": {}},
        "definitions": {"X": {"of": [_refers("Meta"), _refers("Same")]}, "Meta": {"other": 1}, "Same": {"c": 1}},
    }
    document = merged(OWN, [part_of(theirs, "/apis/g/v1")])
    assert document["definitions"]["Meta"] == {"a": 1}
    assert document["definitions"]["Meta_v3"] == {"other": 1}
    assert document["definitions"]["X"] == {"of": [_refers("Meta_v3"), _refers("Same")]}
    assert document["paths"]["/apis/g/v1/x"] == _refers("X")
    assert list(OWN["definitions"]) == ["Meta", "Meta_v2", "Same"]  # untouched


def test_a_path_is_whose_it_was_first():
    theirs = {"paths": {"/own": {"mine": 1}}}
    assert merged(OWN, [part_of(theirs, "/own")])["paths"]["/own"] == {}
