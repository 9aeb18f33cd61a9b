"""Each kind by its rows: what is refused, and why."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from shim.api import keys
from shim.api.meta import Object
from shim.resources.autoscaler_versions import from_v2 as autoscaler_from_v2
from shim.resources.autoscaler_versions import to_v2 as autoscaler_to_v2
from shim.resources.event_versions import event_from_core, event_to_core
from shim.resources.strategy import Resource
from shim.resources.subresources import describe
from shim.resources.table import RESOURCES, find

TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
SELECTOR = {"matchLabels": {"app": "a"}}
MISMATCH = 'Invalid value: {"app":"a"}: `selector` does not match template `labels`'


def row(resource: str) -> Resource:
    return next(each for each in RESOURCES if each.name == resource)


def made(resource: str, obj: Object) -> Object:
    """As the server makes it, up to validation."""
    obj = copy.deepcopy(obj)
    obj.setdefault("metadata", {}).setdefault("name", "x")
    strategy = row(resource).strategy
    strategy.default(obj)
    obj["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    strategy.prepare_for_create(obj)
    return obj


def workload(**spec: Any) -> Object:
    return {"spec": {"selector": SELECTOR, "template": TEMPLATE, **spec}}


def job(**spec: Any) -> Object:
    return {"spec": {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}, **spec}}


def cron_job(**spec: Any) -> Object:
    return {"spec": {"schedule": "*/5 * * * *", "jobTemplate": job(), **spec}}


def service(**spec: Any) -> Object:
    return {"spec": {"ports": [{"port": 80}], **spec}}


REFUSED: list[tuple[str, Object, list[str]]] = [
    ("deployments", workload(replicas=-1), ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    (
        "deployments",
        {"spec": {"template": TEMPLATE}},
        ["spec.selector: Required value", f"spec.template.metadata.labels: {MISMATCH}"],
    ),
    (
        "deployments",
        workload(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    ),
    (
        "daemonsets",
        workload(selector={"matchLabels": {"app": "z"}}),
        [f"spec.template.metadata.labels: {MISMATCH}"],
    ),
    (
        "statefulsets",
        workload(serviceName="A"),
        [
            'spec.serviceName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric '
            "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
            "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ],
    ),
    (
        "jobs",
        {"spec": {"template": {"spec": TEMPLATE["spec"]}}},
        ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ),
    (
        "jobs",
        job(completionMode="Indexed", parallelism=1),
        ["spec.completions: Required value: when completion mode is Indexed"],
    ),
    (
        "cronjobs",
        cron_job(schedule="not cron"),
        ['spec.schedule: Invalid value: "not cron": expected exactly 5 fields, found 2: [not cron]'],
    ),
    (
        "cronjobs",
        cron_job(schedule="60 * * * *"),
        ['spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60'],
    ),
    (
        "cronjobs",
        cron_job(timeZone="No/Where"),
        ['spec.timeZone: Invalid value: "No/Where": unknown time zone No/Where'],
    ),
    ("services", service(ports=[]), ["spec.ports: Required value"]),
    (
        "services",
        service(ports=[{"port": 80}, {"port": 81}]),
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
    ),
    (
        "services",
        service(clusterIP="None", clusterIPs=["None"], type="NodePort"),
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    ),
    ("services", {"spec": {"type": "ExternalName"}}, ["spec.externalName: Required value"]),
    (
        "secrets",
        {"type": "kubernetes.io/tls"},
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"],
    ),
    (
        "configmaps",
        {"data": {"a": "1"}, "binaryData": {"a": "MQ=="}},
        ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
    ),
    (
        "nodes",
        {"spec": {"taints": [{"key": "k", "effect": "Bad"}]}},
        [
            'metadata.taints[0].effect: Unsupported value: "Bad": '
            'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
        ],
    ),
    (
        "persistentvolumeclaims",
        {"spec": {}},
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ],
    ),
    (
        "priorityclasses",
        {"value": 2_000_000_000},
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    ),
    (
        "roles",
        {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}], "metadata": {"namespace": "n"}},
        [
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
        ],
    ),
    (
        "endpointslices",
        {"addressType": "IPv4", "endpoints": [{}]},
        ["endpoints[0].addresses: Required value: must contain at least 1 address"],
    ),
    (
        "networkpolicies",
        {"spec": {"podSelector": {}, "ingress": [{"from": [{}]}]}},
        ["spec.ingress[0].from[0]: Required value: must specify a peer"],
    ),
    (
        "namespaces",
        {"metadata": {"name": "a.b"}},
        ['metadata.name: Invalid value: "a.b": must not contain dots'],
    ),
    (
        "configmaps",
        {"metadata": {"finalizers": ["x"]}},
        [
            'metadata.finalizers[0]: Invalid value: "x": '
            "name is neither a standard finalizer name nor is it fully qualified"
        ],
    ),
    (
        "leases",
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}},
        ['metadata.ownerReferences.uid: Invalid value: "": must not be empty'],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "expected"), REFUSED)
def test_what_is_refused(resource: str, obj: Object, expected: list[str]) -> None:
    found = row(resource).strategy.validate(made(resource, obj))
    assert [f"{cause.field}: {cause.message}" for cause in found] == expected


ACCEPTED = [
    ("deployments", workload()),
    ("replicasets", workload()),
    ("daemonsets", workload()),
    ("statefulsets", workload()),
    ("jobs", job()),
    ("cronjobs", cron_job()),
    ("services", service()),
    ("replicationcontrollers", {"spec": {"template": TEMPLATE}}),
    ("namespaces", {}),
    ("configmaps", {"data": {"a": "b"}}),
    ("roles", {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
]


@pytest.mark.parametrize(("resource", "obj"), ACCEPTED)
def test_the_least_that_is_accepted(resource: str, obj: Object) -> None:
    whole = made(resource, obj)
    assert row(resource).strategy.validate(whole) == []
    assert row(resource).strategy.validate_update(copy.deepcopy(whole), whole) == []


def changed(resource: str, obj: Object, change: Any) -> list[str]:
    old = made(resource, obj)
    new = copy.deepcopy(old)
    change(new)
    strategy = row(resource).strategy
    strategy.default(new)
    strategy.prepare_for_update(new, old)
    return [f"{cause.field}: {cause.message}" for cause in strategy.validate_update(new, old)]


def test_selectors_stay() -> None:
    def change(obj: Object) -> None:
        obj["spec"]["selector"] = {"matchLabels": {"app": "z"}}

    assert changed("deployments", workload(), change)[-1] == (
        'spec.selector: Invalid value: {"matchLabels":{"app":"z"}}: field is immutable'
    )


def test_a_sealed_config_map_stays() -> None:
    def change(obj: Object) -> None:
        obj["data"]["a"] = "c"

    assert changed("configmaps", {"immutable": True, "data": {"a": "b"}}, change) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]


def test_a_status_cannot_be_written_with_the_spec() -> None:
    old = made("deployments", workload())
    new = copy.deepcopy(old)
    new["status"] = {"replicas": 9}
    row("deployments").strategy.prepare_for_update(new, old)
    assert new["status"] == old["status"]


def test_a_service_forgets_what_its_type_had() -> None:
    old = made("services", service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    new = copy.deepcopy(old)
    new["spec"]["type"] = "ClusterIP"
    row("services").strategy.prepare_for_update(new, old)
    assert "externalTrafficPolicy" not in new["spec"]
    assert "nodePort" not in new["spec"]["ports"][0]


def test_plain_secret_texts_are_stored_encoded() -> None:
    assert made("secrets", {"stringData": {"a": "b"}})["data"] == {"a": "Yg=="}


def test_a_job_selects_its_own_pods() -> None:
    spec = made("jobs", job())["spec"]
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert spec["template"]["metadata"]["labels"]["job-name"] == "x"


def test_a_jobs_template_stays_and_is_shown_as_go_prints_it() -> None:
    old = made("jobs", job())
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    [cause] = row("jobs").strategy.validate_update(new, old)
    assert cause.field == "spec.template"
    assert cause.message.endswith("}: field is immutable")
    shown = json.loads(cause.message.removeprefix("Invalid value: ").removesuffix(": field is immutable"))
    assert list(shown) == ["labels", "Spec"]
    assert list(shown["labels"]) == sorted(shown["labels"])
    context = list(shown["Spec"]["SecurityContext"])
    assert context.index("Sysctls") == context.index("FSGroupChangePolicy") + 1


def test_which_updates_may_name_no_version_and_which_make_objects() -> None:
    careful = """apiservices csidrivers csinodes csistoragecapacities customresourcedefinitions leases
        mutatingadmissionpolicies mutatingadmissionpolicybindings mutatingwebhookconfigurations poddisruptionbudgets
        runtimeclasses validatingadmissionpolicies validatingadmissionpolicybindings validatingwebhookconfigurations
        volumeattachments"""
    assert {each.name for each in RESOURCES if not each.strategy.allow_unconditional_update} == set(careful.split())
    making = """clusterrolebindings clusterroles endpoints events leases limitranges rolebindings roles runtimeclasses
        services"""
    assert {each.name for each in RESOURCES if each.strategy.allow_create_on_update} == set(making.split())


def test_events_are_the_same_in_both_forms() -> None:
    event = {"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "p"}, "message": "m", "count": 2}
    other = event_from_core(event)
    assert (other["regarding"], other["note"], other["deprecatedCount"]) == ({"name": "p"}, "m", 2)
    assert event_to_core(other) == event


def test_autoscalers_are_the_same_in_both_forms() -> None:
    old = {"apiVersion": "autoscaling/v1", "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}}
    new = autoscaler_to_v2(old)
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert autoscaler_from_v2(new)["spec"] == old["spec"]


def test_the_table() -> None:
    pods = find("", "v1", "pods")
    assert pods is not None
    assert (pods.singular, pods.list_kind, pods.short, pods.key("ns", "p")) == (
        "pod",
        "PodList",
        ("po",),
        "/registry/pods/ns/p",
    )
    assert describe(pods, "eviction").group == "policy"
    assert all(each.columns for each in RESOURCES)
    kept = {(each.storage or each.gvr): each.prefix for each in RESOURCES}
    assert len(set(kept.values())) == len(kept)  # no two kinds share a place
    for prefix in kept.values():
        assert keys.bucket_of(f"{prefix}a/b") == keys.bucket_of(prefix) == prefix


@pytest.mark.parametrize(
    ("group", "resource", "prefix"),
    [
        ("", "pods", "/registry/pods/"),
        ("", "services", "/registry/services/specs/"),
        ("", "endpoints", "/registry/services/endpoints/"),
        ("", "nodes", "/registry/minions/"),
        ("", "replicationcontrollers", "/registry/controllers/"),
        ("apps", "deployments", "/registry/deployments/"),
        ("networking.k8s.io", "ingresses", "/registry/ingress/"),
        ("networking.k8s.io", "ipaddresses", "/registry/ipaddresses/"),
        ("events.k8s.io", "events", "/registry/events/"),
        ("apiregistration.k8s.io", "apiservices", "/registry/apiregistration.k8s.io/apiservices/"),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "/registry/apiextensions.k8s.io/customresourcedefinitions/",
        ),
        ("example.com", "nodes", "/registry/example.com/nodes/"),
    ],
)
def test_objects_are_where_upstream_keeps_them(group: str, resource: str, prefix: str) -> None:
    assert keys.prefix_of(group, resource) == prefix
    assert keys.resource_of(f"{prefix}a/b") == resource


def test_every_subresource_is_described() -> None:
    for resource in RESOURCES:
        for name in resource.subresources:
            assert describe(resource, name).verbs
