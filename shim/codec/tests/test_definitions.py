from __future__ import annotations

import pytest

from shim.codec.definitions import load, load_schema


def test_definitions_read_as_upstream_publishes_them() -> None:
    definitions = load()
    pod = definitions["io.k8s.api.core.v1.Pod"]
    assert pod["type"] == "object"
    assert pod["properties"]["spec"]["$ref"] == "#/definitions/io.k8s.api.core.v1.PodSpec"
    assert "enum" not in pod["properties"]["kind"]


def test_every_definition_compiles_and_the_facts_agree_with_it() -> None:
    schema = load_schema()
    for name, raw in schema.definitions.items():
        fields = schema.named(name).fields
        properties = raw.get("properties") or {}
        if properties:
            assert set(fields) == set(properties), name


def test_lists_know_how_they_merge() -> None:
    schema = load_schema()
    pod_spec = schema.named("io.k8s.api.core.v1.PodSpec")
    containers = pod_spec.fields["containers"]
    assert (containers.patch_strategies, containers.merge_key) == (("merge",), "name")
    assert (containers.type.list_type, containers.type.list_map_keys) == ("map", ("name",))
    assert pod_spec.fields["tolerations"].type.list_type == "atomic"


def test_an_unknown_kind_has_no_definition() -> None:
    assert load_schema().for_kind("", "v1", "Unheard") is None
    with pytest.raises(KeyError):
        load_schema().named("io.k8s.api.core.v1.Unheard")
