"""What the decoder refuses, drops and keeps; the texts are those recorded from upstream."""

from __future__ import annotations

from typing import Any

import pytest

from shim.api.decoding import decode, prune
from shim.api.schema import Definition
from shim.codec.definitions import load_schema


def definition(group: str, version: str, kind: str) -> Definition:
    found = load_schema().for_kind(group, version, kind)
    assert found
    return found


POD = definition("", "v1", "Pod")
DEPLOYMENT = definition("apps", "v1", "Deployment")
CONFIG_MAP = definition("", "v1", "ConfigMap")
BUDGET = definition("policy", "v1", "PodDisruptionBudget")
SLICE = definition("resource.k8s.io", "v1", "ResourceSlice")


def pod(container: Any = None, **spec: Any) -> Any:
    return {"spec": {"containers": [{"name": "c", **(container or {})}], **spec}}


def test_unknown_fields_are_dropped_and_named_in_the_order_they_stand() -> None:
    given = {
        "metadata": {"name": "d", "bogus": 1},
        "spec": {"replica": 1, "template": {"spec": {"containers": [{"name": "c", "imagee": "x"}]}}},
    }
    decoded = decode(DEPLOYMENT, given)
    assert decoded.unknown == ["metadata.bogus", "spec.replica", "spec.template.spec.containers[0].imagee"]
    assert decoded.error is None
    assert decoded.obj["metadata"] == {"name": "d"}


@pytest.mark.parametrize(
    ("kind", "given", "found", "field", "type"),
    [
        (DEPLOYMENT, {"spec": {"replicas": "three"}}, "string", "DeploymentSpec.spec.replicas", "int32"),
        (CONFIG_MAP, {"data": {"a": 1}}, "number", "ConfigMap.data", "string"),
        (POD, {"spec": {"containers": {}}}, "object", "PodSpec.spec.containers", "[]v1.Container"),
        (POD, pod({"stdinOnce": "x"}), "string", "Container.spec.containers.stdinOnce", "bool"),
        (POD, pod({"args": [1]}), "number", "Container.spec.containers.args", "string"),
        (POD, pod(dnsPolicy=1), "number", "PodSpec.spec.dnsPolicy", "v1.DNSPolicy"),
        (POD, pod(priority=2**31), "number 2147483648", "PodSpec.spec.priority", "int32"),
        (POD, pod(priority=1.5), "number 1.5", "PodSpec.spec.priority", "int32"),
        (POD, {"spec": []}, "array", "Pod.spec", "v1.PodSpec"),
        (
            POD,
            {"spec": {"volumes": [{"configMap": {"name": 5}}]}},
            "number",
            "ConfigMapVolumeSource.spec.volumes.VolumeSource.configMap.LocalObjectReference.name",
            "string",
        ),
        (
            SLICE,
            {"spec": {"devices": [{"attributes": 5}]}},
            "number",
            "Device.spec.devices.attributes",
            "map[v1.QualifiedName]v1.DeviceAttribute",
        ),
        (
            BUDGET,
            {"status": {"disruptedPods": "x"}},
            "string",
            "PodDisruptionBudgetStatus.status.disruptedPods",
            "map[string]v1.Time",
        ),
        (
            POD,
            pod({"livenessProbe": {"httpGet": {"port": True}}}),
            "bool",
            "HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port",
            "int32",
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_in_gos_words(
    kind: Definition, given: Any, found: str, field: str, type: str
) -> None:
    assert decode(kind, given).error == f"json: cannot unmarshal {found} into Go struct field {field} of type {type}"


def test_what_is_no_object_at_all_is_refused() -> None:
    assert decode(POD, []).error == "json: cannot unmarshal array into Go value of type v1.Pod"


def test_a_wrong_quantity_is_refused() -> None:
    error = decode(POD, pod({"resources": {"limits": {"cpu": "lots"}}})).error
    assert error
    assert error.startswith("quantities must match the regular expression")


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        ("today", ' as "2006-01-02T15:04:05Z07:00": cannot parse "today" as "2006"'),
        ("2026-01-01T00:00:00", ' as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00"'),
        ("2026-13-01T00:00:00Z", ": month out of range"),
        ("2026-02-30T00:00:00Z", ": day out of range"),
    ],
)
def test_a_wrong_time_is_refused(time: str, problem: str) -> None:
    given = {"metadata": {"creationTimestamp": time}}
    assert decode(POD, given).error == f'parsing time "{time}"{problem}'


@pytest.mark.parametrize(("text", "at"), [("abc", 0), ("abcde", 4), ("ab!d", 2), ("!", 0), ("a", 0), ("YWJj=", 4)])
def test_wrong_base64_is_refused_where_go_stops(text: str, at: int) -> None:
    secret = definition("", "v1", "Secret")
    assert decode(secret, {"data": {"k": text}}).error == f"illegal base64 data at input byte {at}"


def test_empty_plain_fields_go_and_explicit_zeros_of_pointers_stay() -> None:
    given = pod(hostNetwork=False, nodeName="", tolerations=[], nodeSelector={}, terminationGracePeriodSeconds=0)
    given["metadata"] = {"name": "p", "labels": None, "annotations": {}}
    assert decode(POD, given).obj == {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "resources": {}}], "terminationGracePeriodSeconds": 0},
        "status": {},
    }


def test_values_are_written_in_their_one_form() -> None:
    given = pod({"resources": {"limits": {"cpu": 1.5, "memory": "1024Mi"}}})
    given["metadata"] = {"creationTimestamp": "2026-01-01T12:00:00.5+02:00"}
    obj = prune(POD, given)
    assert obj["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1500m", "memory": "1Gi"}
    assert obj["metadata"]["creationTimestamp"] == "2026-01-01T10:00:00Z"


def test_nulls_in_maps_and_lists_become_zeros() -> None:
    assert decode(CONFIG_MAP, {"data": {"a": None}}).obj["data"] == {"a": ""}
    assert decode(POD, pod({"args": ["x", None]})).obj["spec"]["containers"][0]["args"] == ["x", ""]


def test_a_custom_schema_is_compiled_the_same_way() -> None:
    raw = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer", "format": "int32"},
                    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "port": {"x-kubernetes-int-or-string": True},
                },
            }
        },
    }
    widget = load_schema().compile("example.com.v1.Widget", raw)
    decoded = decode(widget, {"spec": {"size": 0, "any": {"x": [1]}, "port": "http", "other": 1}})
    assert decoded.obj == {"spec": {"size": 0, "any": {"x": [1]}, "port": "http"}}
    assert decoded.unknown == ["spec.other"]


def test_times_of_the_first_year_are_written_whole_and_the_zero_time_is_none() -> None:
    lease = definition("coordination.k8s.io", "v1", "Lease")
    given = {"spec": {"acquireTime": "0001-01-01T00:00:01.000005+00:00", "renewTime": "0001-01-01T00:00:00.000000Z"}}
    assert decode(lease, given).obj["spec"] == {"acquireTime": "0001-01-01T00:00:01.000005Z"}
