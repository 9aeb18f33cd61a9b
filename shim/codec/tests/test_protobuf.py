from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.api.decoding import decode
from shim.api.schema import Definition, Type
from shim.codec.definitions import load_schema
from shim.codec.protobuf import Protobuf, ProtobufError

SCHEMA = load_schema()
PROTOBUF = Protobuf(SCHEMA)


def test_what_kubectl_sends_is_understood() -> None:
    """Laid out as client-go writes ``kubectl create configmap a --from-literal=x=y``."""
    metadata = b"\x0a\x01a\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00"
    raw = b"\x0a" + bytes([len(metadata)]) + metadata + b"\x12\x06\x0a\x01x\x12\x01y"
    types = b"\x0a\x02v1\x12\x09ConfigMap"
    envelope = b"\x0a" + bytes([len(types)]) + types + b"\x12" + bytes([len(raw)]) + raw + b"\x1a\x00\x22\x00"
    given = PROTOBUF.decode(b"k8s\0" + envelope)
    definition = SCHEMA.for_kind("", "v1", "ConfigMap")
    assert definition
    wanted = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"x": "y"}}
    assert decode(definition, given).obj == wanted


def test_fields_that_are_no_pointers_are_written_also_when_they_are_empty() -> None:
    """As client-go does: a decoder that tells an absent field from an empty one sees what upstream would send."""
    metadata = b"\x0a\x01a\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00"
    raw = b"\x0a" + bytes([len(metadata)]) + metadata
    assert raw in PROTOBUF.encode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})


def test_the_year_1_has_four_digits() -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "spec": {"renewTime": "0001-01-01T00:00:01.000000Z"},
    }
    assert PROTOBUF.decode(PROTOBUF.encode(lease))["spec"]["renewTime"] == lease["spec"]["renewTime"]


def values(type: Type, depth: int) -> st.SearchStrategy[Any]:
    """Values of a type, as JSON has them."""
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
    scalars: dict[str, st.SearchStrategy[Any]] = {
        "string": text,
        "bool": st.booleans(),
        "int32": st.integers(-(2**31), 2**31 - 1),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "float64": st.floats(-1e6, 1e6, width=32),
        "bytes": st.sampled_from(["", "YQ==", "YWJj"]),
        "Time": st.sampled_from(["2026-01-01T00:00:00Z", "1969-12-31T23:59:59Z"]),
        "MicroTime": st.sampled_from(["2026-01-01T00:00:00.123456Z"]),
        "Quantity": st.sampled_from(["0", "1", "100m", "1Gi"]),
        "IntOrString": st.one_of(st.integers(-(2**31), 2**31 - 1), text),
        "Raw": st.just({"a": [1]}),
        "JSON": st.just({"a": [1, None, "x"]}),
        "FieldsV1": st.just({"f:a": {}}),
    }
    if type.kind in scalars:
        return scalars[type.kind]
    if type.kind == "struct":
        assert type.definition
        return objects(type.definition, depth - 1)
    assert type.element or type.kind == "any"
    if type.element and type.kind == "list":
        return st.lists(values(type.element, depth), max_size=2)
    if type.element:
        return st.dictionaries(text, values(type.element, depth), max_size=2)
    return st.nothing()


def objects(definition: Definition, depth: int) -> st.SearchStrategy[Any]:
    if depth <= 0:
        return st.just({})
    fields = {
        name: values(field.type, depth)
        for name, field in definition.fields.items()
        if name not in ("apiVersion", "kind") and field.type.kind != "any"
    }
    chosen = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True) if fields else st.just([])
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))


KINDS = [
    ("v1", "Pod"),
    ("v1", "Node"),
    ("v1", "Service"),
    ("v1", "PersistentVolume"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "CronJob"),
    ("networking.k8s.io/v1", "Ingress"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("coordination.k8s.io/v1", "Lease"),
]


@pytest.mark.parametrize(("api_version", "kind"), KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_what_is_written_reads_back_the_same(api_version: str, kind: str, data: st.DataObject) -> None:
    group, _, version = api_version.rpartition("/")
    definition = SCHEMA.for_kind(group, version, kind)
    assert definition
    depth = 6 if kind == "CustomResourceDefinition" else 7  # schemas contain schemas
    drawn = {"kind": kind, "apiVersion": api_version, **data.draw(objects(definition, depth))}
    obj = decode(definition, drawn).obj
    again = decode(definition, PROTOBUF.decode(PROTOBUF.encode(obj))).obj
    assert without_empty(again) == without_empty(obj)


def without_empty(value: Any) -> Any:
    """Protobuf cannot tell an empty list or map from none; and nested objects lose their kind."""
    if isinstance(value, dict):
        cleaned = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item not in ([], {}, None)}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_garbage_is_refused_and_never_more_than_that(garbage: bytes) -> None:
    types = b"\x0a\x02v1\x12\x03Pod"
    envelope = b"k8s\0\x0a" + bytes([len(types)]) + types + b"\x12" + bytes([len(garbage)]) + garbage
    try:
        assert PROTOBUF.decode(envelope)["kind"] == "Pod"
    except ProtobufError:
        pass
