"""The core group's smaller kinds, Services among them: what is refused, what may change, what is warned of."""

from __future__ import annotations

import base64
import copy
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shim.api.meta import Object
from shim.resources.tests.asked import edited, made, refused, row

QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
UNKNOWN_FINALIZER = "name is neither a standard finalizer name nor is it fully qualified"
RELEASED = "spec.ipFamilyPolicy: Invalid value: null: must be set to 'SingleStack' when releasing the secondary"
NO_BALANCER = "Forbidden: may only be used when `type` is 'LoadBalancer'"


def service(**spec: Any) -> Object:
    return {"spec": {"ports": [{"port": 80}], **spec}}


def quota(**spec: Any) -> Object:
    return {"spec": {"hard": {"pods": "1"}, **spec}}


def limits(**limit: Any) -> Object:
    return {"spec": {"limits": [{"type": "Container", **limit}]}}


def event(**fields: Any) -> Object:
    return {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, **fields}


REFUSED: list[tuple[str, Object, list[str]]] = [
    (
        "namespaces",
        {"spec": {"finalizers": ["a"]}},
        [f'spec.finalizers: Invalid value: "a": {UNKNOWN_FINALIZER}'],
    ),
    (
        "nodes",
        {"spec": {"podCIDRs": ["10.0.0.1/24", "10.0.1.0/24"]}},
        [
            'spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length',
            'spec.podCIDRs: Invalid value: ["10.0.0.1/24","10.0.1.0/24"]: may specify no more than one CIDR for each '
            "IP family",
        ],
    ),
    (
        "nodes",
        {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}},
        [
            'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoExecute","TimeAdded":null}: '
            "taints must be unique by key and effect pair"
        ],
    ),
    (
        "nodes",
        {"status": {"capacity": {"cpu": "-1"}, "declaredFeatures": ["B", "A"]}},
        [
            'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0',
            'status.allocatable.cpu: Invalid value: "-1": must be greater than or equal to 0',
            'status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically',
        ],
    ),
    (
        "secrets",
        {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}},
        ["data[ssh-privatekey]: Required value"],
    ),
    (
        "secrets",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "W10="}},
        [
            'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '
            "json: cannot unmarshal array into Go value of type map[string]interface {}"
        ],
    ),
    (
        "secrets",
        {"type": "kubernetes.io/service-account-token"},
        ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
    ),
    (
        "endpoints",
        {"subsets": [{"addresses": [{"ip": "127.0.0.1", "nodeName": "-"}]}]},
        [
            'subsets[0].addresses[0].nodeName: Invalid value: "-": a lowercase RFC 1123 subdomain must consist of '
            "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
            "(e.g. 'example.com', regex used for validation is "
            r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
            "::1/128)",
        ],
    ),
    (
        "endpoints",
        {"subsets": [{"addresses": [{"ip": "010.1.1.1"}]}]},
        ['subsets[0].addresses[0].ip: Invalid value: "010.1.1.1": must not have leading 0s'],
    ),
    (
        "resourcequotas",
        quota(hard={"cpu": "1", "storage": "1", "pods": "1500m"}, scopes=["BestEffort", "NotBestEffort"]),
        [
            'spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota',
            'spec.hard[pods]: Invalid value: "1500m": must be an integer',
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: unsupported scope applied to resource',
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
        ],
    ),
    (
        "resourcequotas",
        quota(scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}),
        [
            "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is "
            "'In' or 'NotIn' for scope selector"
        ],
    ),
    (
        "limitranges",
        limits(type="a"),
        ['spec.limits[0].type: Invalid value: "a": must be a standard limit type or fully qualified'],
    ),
    (
        "limitranges",
        limits(min={"cpu": "3"}, max={"cpu": "2"}, maxLimitRequestRatio={"cpu": "500m"}),
        [
            'spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2',
            'spec.limits[0].default[cpu]: Invalid value: "3": min value 3 is greater than default value 2',
            'spec.limits[0].defaultRequest[cpu]: Invalid value: "2": min value 3 is greater than default request '
            "value 2",
            'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1',
        ],
    ),
    (
        "events",
        event(eventTime="2024-01-01T00:00:00.000000Z", reason="x" * 129),
        [
            "reportingComponent: Required value",
            'reportingComponent: Invalid value: "": name part must be non-empty',
            f'reportingComponent: Invalid value: "": {QUALIFIED}',
            "reportingInstance: Required value",
            "action: Required value",
            'reason: Invalid value: "": can have at most 128 characters',
        ],
    ),
    (
        "services",
        service(ipFamilies=["IPv6"], clusterIP="10.96.0.1", clusterIPs=["10.96.0.1"]),
        ['spec.clusterIPs[0]: Invalid value: "10.96.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`'],
    ),
    (
        "services",
        service(loadBalancerClass="a", loadBalancerSourceRanges=["10.0.0.0/8"]),
        [f"spec.LoadBalancerSourceRanges: {NO_BALANCER}", f"spec.loadBalancerClass: {NO_BALANCER}"],
    ),
    (
        "services",
        service(externalIPs=["0.0.0.0", "::ffff:1.2.3.4"]),
        [
            'spec.externalIPs[0]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)',
            'spec.externalIPs[1]: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address',
        ],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "expected"), REFUSED)
def test_what_is_refused(resource: str, obj: Object, expected: list[str]) -> None:
    assert sorted(refused(resource, obj)) == sorted(expected)


CHANGES: list[tuple[str, Object, Object, list[str]]] = [
    (
        "nodes",
        {"spec": {"podCIDR": "10.0.0.0/24", "providerID": "a"}},
        {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24"], "providerID": "b"},
        [
            'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
            'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
        ],
    ),
    (
        "resourcequotas",
        quota(),
        {"scopes": ["BestEffort"]},
        ['spec.scopes: Invalid value: ["BestEffort"]: field is immutable'],
    ),
    (
        "services",
        service(clusterIP="10.96.0.1", clusterIPs=["10.96.0.1"]),
        {"clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"]},
        ['spec.clusterIPs[0]: Invalid value: ["10.96.0.2"]: may not change once set'],
    ),
    (
        "services",
        service(clusterIP="10.96.0.1", clusterIPs=["10.96.0.1"]),
        {"clusterIP": "", "clusterIPs": []},
        ["spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset"],
    ),
    (
        "services",
        service(clusterIP="10.96.0.1", clusterIPs=["10.96.0.1", "fd00::1"], ipFamilies=["IPv4", "IPv6"]),
        {"clusterIPs": ["10.96.0.1"]},
        [f"{RELEASED} clusterIP"],
    ),
    ("services", service(type="LoadBalancer", loadBalancerClass="a.b/c"), {"type": "ClusterIP"}, []),
    (
        "services",
        service(type="LoadBalancer", loadBalancerClass="a.b/c"),
        {"loadBalancerClass": "a.b/d"},
        ['spec.loadBalancerClass: Invalid value: "a.b/d": may not change once set'],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "change", "expected"), CHANGES)
def test_what_may_change(resource: str, obj: Object, change: Object, expected: list[str]) -> None:
    assert edited(resource, obj, lambda found: found["spec"].update(change)) == expected


def test_what_is_wrong_with_metadata_is_told_once_by_each_who_asks() -> None:
    def mislabel(obj: Object) -> None:
        obj["metadata"]["labels"] = {"-": ""}

    once = f'metadata.labels: Invalid value: "-": {QUALIFIED}'
    assert edited("namespaces", {}, mislabel) == [once, once]
    assert edited("events", event(), mislabel) == []  # only what is asked of every update


def test_a_namespace_is_active_until_it_is_deleted() -> None:
    def terminate(obj: Object) -> None:
        obj["status"]["phase"] = "Terminating"

    assert edited("namespaces/status", {}, terminate) == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_only_a_load_balancer_says_where_it_listens() -> None:
    def listen(obj: Object) -> None:
        obj["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}

    assert edited("services/status", service(), listen) == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]
    assert edited("services/status", service(type="LoadBalancer"), listen) == []


def test_strange_addresses_that_were_stored_once_may_stay() -> None:
    old = made("services", service(externalIPs=["010.1.1.1"]))
    new = copy.deepcopy(old)
    assert row("services").strategy.validate_update(new, old) == []


def test_a_secret_reference_of_an_account_is_a_name() -> None:
    found = made("serviceaccounts", {"secrets": [{"name": "a", "kind": "Secret", "uid": "u"}]})
    assert found["secrets"] == [{"name": "a"}]


def test_the_new_events_ask_for_more() -> None:
    new = {"regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "type": "Normal", "deprecatedCount": 1}
    assert refused("events", new, "events.k8s.io") == [
        "eventTime: Required value",
        'count: Invalid value: "": needs to be unset',
    ]


def test_new_events_keep_all_but_their_series() -> None:
    said = {
        "regarding": {"kind": "Node", "name": "n"},
        "eventTime": "2024-01-01T00:00:00.000000Z",
        "reportingController": "a",
        "reportingInstance": "b",
        "action": "c",
        "reason": "d",
        "type": "Normal",
    }
    series = {"count": 2, "lastObservedTime": "2024-01-01T00:00:01.000000Z"}
    assert edited("events", said, lambda obj: obj.update(series=series), "events.k8s.io") == []
    assert edited("events", said, lambda obj: obj.update(note="other"), "events.k8s.io") == [
        'message: Invalid value: "other": field is immutable'
    ]


WARNED: list[tuple[str, Object, list[str]]] = [
    (
        "services",
        service(clusterIP="None", sessionAffinity="ClientIP"),
        ["spec.SessionAffinity is ignored for headless services"],
    ),
    (
        "services",
        service(externalIPs=["FD00::1"]),
        [
            'spec.externalIPs[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")',
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        ],
    ),
    (
        "nodes",
        {"spec": {"externalID": "a"}},
        ["spec.externalID: this field is deprecated, and is unused by Kubernetes"],
    ),
    (
        "secrets",
        {"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ==", "tls.key": ""}},
        ["tls: failed to find any PEM data in certificate input"],
    ),
    (
        "serviceaccounts",
        {"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}},
        [
            "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate "
            "namespaces to isolate access to mounted secrets"
        ],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "expected"), WARNED)
def test_what_is_warned_of(resource: str, obj: Object, expected: list[str]) -> None:
    assert row(resource).strategy.warnings(made(resource, obj)) == expected


def test_a_key_of_another_certificate_is_warned_of() -> None:
    def pair() -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
        day = datetime.datetime(2024, 1, 1)
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + datetime.timedelta(1))
        certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return base64.b64encode(certificate).decode(), base64.b64encode(key.private_bytes(*form)).decode()

    def warned(certificate: str, key: str) -> list[str]:
        return row("secrets").strategy.warnings(
            {"type": "kubernetes.io/tls", "data": {"tls.crt": certificate, "tls.key": key}}
        )

    one, other = pair(), pair()
    assert warned(*one) == []
    assert warned(one[0], other[1]) == ["tls: private key does not match public key"]
