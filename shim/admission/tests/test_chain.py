"""Admission, plugin by plugin: what it changes and what it refuses."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shim.admission.chain import PLUGINS, Chain, UnknownPlugin, chosen
from shim.admission.request import DELETE
from shim.admission.tests.cluster import (
    ACCOUNT,
    NAMESPACE,
    POD,
    Cluster,
    admitted,
    create,
    pod,
    refusal,
    request,
    update,
)
from shim.api.meta import Object


async def test_a_plain_pod_gets_an_account_a_token_a_priority_and_tolerations() -> None:
    spec = (await admitted(Cluster(NAMESPACE, ACCOUNT), create("pods", POD)))["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": volume["name"], "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    ]
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert [each["key"].rpartition("/")[2] for each in spec["tolerations"]] == ["not-ready", "unreachable"]


async def test_a_pod_may_do_without_a_token() -> None:
    obj = await admitted(Cluster(NAMESPACE, ACCOUNT), create("pods", pod(automountServiceAccountToken=False)))
    assert "volumes" not in obj["spec"]


REFUSED = [
    ({"serviceAccountName": "x"}, 'error looking up service account ns/x: serviceaccount "x" not found'),
    ({"priorityClassName": "x"}, "no PriorityClass with name x was found"),
    (
        {"priority": 5},
        "the integer value of priority (5) must not be provided in pod spec; "
        "priority admission controller computed 0 from the given PriorityClass name",
    ),
    ({"runtimeClassName": "x"}, 'pod rejected: RuntimeClass "x" not found'),
    (
        {"overhead": {"cpu": "1"}},
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
    ),
]


@pytest.mark.parametrize(("spec", "why"), REFUSED)
async def test_pods_that_are_refused(spec: Object, why: str) -> None:
    error = await refusal(Cluster(NAMESPACE, ACCOUNT), create("pods", pod(**spec)))
    assert (error.code, error.message) == (403, f'pods "p" is forbidden: {why}')


async def test_nothing_is_made_in_a_namespace_that_is_missing_or_ends() -> None:
    config_map = create("configmaps", {"metadata": {"name": "c"}})
    error = await refusal(Cluster(), config_map)
    assert (error.code, error.message) == (404, 'namespaces "ns" not found')
    ending = ("namespaces", {"metadata": {"name": "ns"}, "status": {"phase": "Terminating"}})
    error = await refusal(Cluster(ending), config_map)
    assert error.code == 403
    assert error.details is not None
    assert error.details["causes"][0]["reason"] == "NamespaceTerminating"


async def test_some_namespaces_stay() -> None:
    error = await refusal(Cluster(), request(DELETE, "namespaces", None, None, name="default", namespace=None))
    assert error.message == 'namespaces "default" is forbidden: this namespace may not be deleted'


async def test_a_limit_range_fills_in_and_bounds() -> None:
    limits = [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "2"}}]
    cluster = Cluster(
        NAMESPACE, ACCOUNT, ("limitranges", {"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": limits}})
    )
    obj = await admitted(cluster, create("pods", POD))
    assert obj["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}
    assert obj["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    }
    large = {"name": "c", "image": "i", "resources": {"limits": {"cpu": "3"}, "requests": {"cpu": "3"}}}
    error = await refusal(cluster, create("pods", pod(containers=[large])))
    assert error.message == 'pods "p" is forbidden: maximum cpu usage per Container is 2, but limit is 3'


async def test_new_nodes_are_not_ready() -> None:
    obj = await admitted(Cluster(), create("nodes", {"metadata": {"name": "n"}}, namespace=None))
    assert obj["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


async def test_claims_get_the_default_storage_class() -> None:
    marked = {"storageclass.kubernetes.io/is-default-class": "true"}
    cluster = Cluster(NAMESPACE, ("storageclasses", {"metadata": {"name": "fast", "annotations": marked}}))
    obj = await admitted(cluster, create("persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": {}}))
    assert obj["spec"]["storageClassName"] == "fast"


async def test_the_newest_default_class_wins() -> None:
    marked = {"ingressclass.kubernetes.io/is-default-class": "true"}
    classes = [
        ("ingressclasses", {"metadata": {"name": name, "annotations": marked, "creationTimestamp": made}})
        for name, made in (("a", "2025-01-01T00:00:00Z"), ("b", "2026-01-01T00:00:00Z"), ("c", "2026-01-01T00:00:00Z"))
    ]
    ingress = create("ingresses", {"metadata": {"name": "i"}, "spec": {}}, group="networking.k8s.io")
    assert (await admitted(Cluster(NAMESPACE, *classes), ingress))["spec"]["ingressClassName"] == "b"


@pytest.mark.parametrize(
    ("resource", "group", "finalizer"),
    [
        ("persistentvolumes", "", "kubernetes.io/pv-protection"),
        ("persistentvolumeclaims", "", "kubernetes.io/pvc-protection"),
        ("volumeattributesclasses", "storage.k8s.io", "kubernetes.io/vac-protection"),
    ],
)
async def test_what_is_in_use_is_protected(resource: str, group: str, finalizer: str) -> None:
    obj = {"metadata": {"name": "x", "finalizers": ["mine/own"]}, "spec": {}}
    namespace = "ns" if resource == "persistentvolumeclaims" else None
    for _ in range(2):
        obj = await admitted(Cluster(NAMESPACE), create(resource, obj, group=group, namespace=namespace))
    assert obj["metadata"]["finalizers"] == ["mine/own", finalizer]


def claim(size: str, storage_class: str = "fast", phase: str = "Bound") -> Object:
    spec = {"storageClassName": storage_class, "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": "c"}, "spec": spec, "status": {"phase": phase}}


GROWTH = [
    (claim("2Gi"), claim("1Gi"), True, ""),
    (claim("1Gi"), claim("1Gi"), False, ""),
    (claim("1Gi"), claim("2Gi", phase="Pending"), False, ""),
    (claim("2Gi"), claim("1Gi", phase="Pending"), True, "Only bound persistent volume claims can be expanded"),
    (claim("2Gi"), claim("1Gi"), False, "only dynamically provisioned pvc can be resized and "),
    (claim("2Gi", "slow"), claim("1Gi", "slow"), True, "only dynamically provisioned pvc can be resized and "),
]


@pytest.mark.parametrize(("new", "old", "expandable", "why"), GROWTH)
async def test_claims_grow_where_their_class_lets_them(new: Object, old: Object, expandable: bool, why: str) -> None:
    fast = ("storageclasses", {"metadata": {"name": "fast"}, "allowVolumeExpansion": expandable})
    cluster, asked = Cluster(NAMESPACE, fast), update("persistentvolumeclaims", new, old)
    if not why:
        await admitted(cluster, asked)
        return
    error = await refusal(cluster, asked)
    assert error.message.startswith(f'persistentvolumeclaims "c" is forbidden: {why}')


def runtime_class(**fields: Any) -> tuple[str, Object]:
    return "runtimeclasses", {"metadata": {"name": "vm"}, "handler": "vm", **fields}


async def test_a_runtime_class_gives_its_overhead_and_its_nodes() -> None:
    scheduling = {
        "nodeSelector": {"vm": "yes"},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}],
    }
    vm = runtime_class(overhead={"podFixed": {"cpu": "100m"}}, scheduling=scheduling)
    narrow = {"key": "a", "operator": "Equal", "value": "1", "effect": "NoSchedule"}
    obj = pod(runtimeClassName="vm", tolerations=[narrow], overhead={"cpu": "0.1"}, nodeSelector={"disk": "ssd"})
    spec = (await admitted(Cluster(NAMESPACE, ACCOUNT, vm), create("pods", obj)))["spec"]
    assert spec["overhead"] == {"cpu": "100m"}
    assert spec["nodeSelector"] == {"disk": "ssd", "vm": "yes"}
    assert [each["key"] for each in spec["tolerations"] if "tolerationSeconds" not in each] == ["a", "b"]
    assert narrow not in spec["tolerations"], "what is included in another one goes"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
        (
            {"nodeSelector": {"vm": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
        ),
    ],
)
async def test_a_pod_cannot_differ_from_its_runtime_class(spec: Object, why: str) -> None:
    vm = runtime_class(overhead={"podFixed": {"cpu": "100m"}}, scheduling={"nodeSelector": {"vm": "yes"}})
    error = await refusal(Cluster(NAMESPACE, ACCOUNT, vm), create("pods", pod(runtimeClassName="vm", **spec)))
    assert error.message == f'pods "p" is forbidden: {why}'


KNOWN = (
    "serviceaccounts",
    {
        "metadata": {
            "name": "strict",
            "namespace": "ns",
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"},
        },
        "secrets": [{"name": "known"}],
        "imagePullSecrets": [{"name": "pull"}],
    },
)


def container(**fields: Any) -> list[Object]:
    return [{"name": "c", "image": "i", **fields}]


def env(secret: str) -> list[Object]:
    return [{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]


SECRETS = [
    ({"volumes": [{"name": "v", "secret": {"secretName": "known"}}]}, ""),
    ({"containers": container(env=env("known"))}, ""),
    (
        {"volumes": [{"name": "v", "secret": {"secretName": "x"}}]},
        'volume with secret.secretName="x" is not allowed because service account strict does not reference that '
        "secret",
    ),
    (
        {"containers": container(env=env("x"))},
        'container c with envVar V referencing secret.secretName="x" is not allowed because service account strict '
        "does not reference that secret",
    ),
    (
        {"initContainers": container(envFrom=[{"secretRef": {"name": "x"}}])},
        'init container c with envFrom referencing secret.secretName="x" is not allowed because service account '
        "strict does not reference that secret",
    ),
    (
        {"imagePullSecrets": [{"name": "pull"}, {"name": "x"}]},
        'imagePullSecrets[1].name="x" is not allowed because service account strict does not reference that '
        "imagePullSecret",
    ),
]


@pytest.mark.parametrize(("spec", "why"), SECRETS)
async def test_an_account_may_list_the_secrets_of_its_pods(spec: Object, why: str) -> None:
    cluster, asked = Cluster(NAMESPACE, KNOWN), create("pods", pod(serviceAccountName="strict", **spec))
    if not why:
        assert (await admitted(cluster, asked))["spec"]["imagePullSecrets"] == [{"name": "pull"}]
        return
    assert (await refusal(cluster, asked)).message == f'pods "p" is forbidden: {why}'


async def test_debug_containers_are_no_way_to_other_secrets() -> None:
    old = pod(serviceAccountName="strict")
    asked = update(
        "pods",
        pod(serviceAccountName="strict", ephemeralContainers=container(env=env("x"))),
        old,
        subresource="ephemeralcontainers",
    )
    error = await refusal(Cluster(NAMESPACE, KNOWN), asked)
    assert 'ephemeral container c with envVar V referencing secret.secretName="x" is not allowed' in error.message


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
        (
            {"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "x"}}}]},
            "a mirror pod may not reference secrets",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ],
)
async def test_a_mirror_pod_gets_nothing_of_the_api(spec: Object, why: str) -> None:
    mirror = pod(**spec)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "h"}
    assert (await refusal(Cluster(NAMESPACE), create("pods", mirror))).message == f'pods "p" is forbidden: {why}'


def signing_request(signer: str, *organizations: str) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    pem = base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()
    return {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": pem}}


async def test_nobody_asks_to_be_a_master() -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    where: Any = {"group": "certificates.k8s.io", "namespace": None}
    asked = create("certificatesigningrequests", signing_request(signer, "devs", "system:masters"), **where)
    error = await refusal(Cluster(), asked)
    assert error.message == (
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: '
        f"use of {signer} signer with system:masters group is not allowed"
    )
    await admitted(Cluster(), create("certificatesigningrequests", signing_request(signer, "devs"), **where))
    other = signing_request("example.com/own", "system:masters")
    await admitted(Cluster(), create("certificatesigningrequests", other, **where))


@pytest.mark.parametrize(("subresource", "verb"), [("approval", "approve"), ("status", "sign")])
@pytest.mark.parametrize("name", ["example.com/own", "example.com/*", ""])
async def test_approving_and_signing_is_a_right_on_the_signer(subresource: str, verb: str, name: str) -> None:
    old: Object = {"metadata": {"name": "r"}, "spec": {"signerName": "example.com/own"}, "status": {}}
    new = {**old, "spec": {"signerName": "example.com/other"}, "status": {"certificate": "eA=="}}
    asked = update(
        "certificatesigningrequests",
        new,
        old,
        group="certificates.k8s.io",
        namespace=None,
        subresource=subresource,
    )
    cluster = Cluster(rights=[(verb, "signers", name)] if name else ())
    if name:
        await admitted(cluster, asked)
        return
    error = await refusal(cluster, asked)
    assert error.message.endswith(f'user not permitted to {verb} requests with signerName "example.com/own"')


async def test_devices_are_tolerated_where_that_is_asked_for() -> None:
    resources = {"requests": {"example.com/gpu": "1", "cpu": "1"}, "limits": {"example.com/gpu": "1"}}
    cluster, obj = Cluster(NAMESPACE, ACCOUNT), pod(containers=container(resources=resources))
    toleration = {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert toleration not in (await admitted(cluster, create("pods", obj)))["spec"]["tolerations"]
    asked = create("pods", obj)
    await Chain(cluster, chosen(enable=["ExtendedResourceToleration"])).admit(asked)
    assert asked.obj is not None
    assert toleration in asked.obj["spec"]["tolerations"]


async def test_a_pod_learns_its_zone_from_its_node() -> None:
    labels = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "x"}
    cluster = Cluster(NAMESPACE, ACCOUNT, ("nodes", {"metadata": {"name": "n", "labels": labels}}))
    bound = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    obj = await admitted(cluster, create("pods", bound, subresource="binding"))
    assert obj["metadata"]["labels"] == {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}
    placed = await admitted(cluster, create("pods", pod(nodeName="n")))
    assert placed["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z"
    assert "labels" not in (await admitted(cluster, create("pods", pod(nodeName="gone"))))["metadata"]


def sized(cpu: str, generation: int) -> Object:
    made = pod(nodeName="n", containers=container(resources={"requests": {"cpu": cpu}}))
    made["metadata"]["generation"] = generation
    return made


@pytest.mark.parametrize(
    ("node", "why", "reason"),
    [
        ({"status": {"allocatable": {"cpu": "2"}}}, "", ""),
        (
            {"status": {"allocatable": {"cpu": "1"}}},
            "node didn't have enough allocatable resources: cpu, requested: 2000, allocatable: 1000",
            "NodeCapacity",
        ),
        (
            {"metadata": {"name": "n", "labels": {"kubernetes.io/os": "windows"}}},
            'pod resize is only supported on linux nodes, node "n" is "windows"',
            "UnsupportedPlatform",
        ),
    ],
)
async def test_a_pod_grows_within_its_node(node: Object, why: str, reason: str) -> None:
    cluster = Cluster(NAMESPACE, ("nodes", {"metadata": {"name": "n"}, **node}))
    asked = update("pods", sized("2", 2), sized("1", 1), subresource="resize")
    if not why:
        await admitted(cluster, asked)
        return
    error = await refusal(cluster, asked)
    assert error.message == f'pods "p" is forbidden: {why}'
    assert (error.details or {})["causes"] == [{"reason": reason}]


def test_plugins_are_chosen_by_name() -> None:
    assert len(chosen()) == len(PLUGINS) - 2
    assert "Priority" not in {type(each).__name__ for each in chosen(disable=["Priority"])}
    with pytest.raises(UnknownPlugin, match='admission plugin "Nonsense" is unknown'):
        chosen(enable=["Nonsense"])


BOUNDS = [
    ("Container", {"min": {"cpu": "1"}}, {}, "minimum cpu usage per Container is 1.  No request is specified"),
    (
        "Container",
        {"min": {"cpu": "1"}},
        {"requests": {"cpu": "500m"}},
        "minimum cpu usage per Container is 1, but request is 500m",
    ),
    (
        "Pod",
        {"max": {"memory": "1Gi"}},
        {"limits": {"memory": "2Gi"}},
        "maximum memory usage per Pod is 1Gi, but limit is 2Gi",
    ),
    (
        "Container",
        {"maxLimitRequestRatio": {"cpu": "1.5"}},
        {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
        "cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.000000",
    ),
    (
        "Container",
        {"maxLimitRequestRatio": {"cpu": "2"}},
        {"limits": {"cpu": "2"}},
        "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
    ),
    (
        "Container",
        {"max": {"cpu": "1", "memory": "1Gi"}},
        {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}},
        "[maximum cpu usage per Container is 1, but limit is 2, "
        "maximum memory usage per Container is 1Gi.  No limit is specified]",
    ),
]


@pytest.mark.parametrize(("kind", "limit", "resources", "why"), BOUNDS)
async def test_limit_ranges_bound(kind: str, limit: Object, resources: Object, why: str) -> None:
    limits = [{"type": kind, **limit}]
    limit_range = ("limitranges", {"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": limits}})
    cluster = Cluster(NAMESPACE, ACCOUNT, limit_range)
    error = await refusal(cluster, create("pods", pod(containers=container(resources=resources))))
    assert error.message == f'pods "p" is forbidden: {why}'


async def test_limit_ranges_bound_claims_that_are_made_or_grow() -> None:
    limits = [{"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}, "min": {"storage": "1Gi"}}]
    limit_range = ("limitranges", {"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": limits}})
    fast = ("storageclasses", {"metadata": {"name": "fast"}, "allowVolumeExpansion": True})
    cluster = Cluster(NAMESPACE, limit_range, fast)
    for asked in (
        create("persistentvolumeclaims", claim("3Gi")),
        update("persistentvolumeclaims", claim("3Gi"), claim("1Gi")),
    ):
        error = await refusal(cluster, asked)
        assert error.message.endswith("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")
    going = claim("1Gi")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await admitted(cluster, update("persistentvolumeclaims", claim("3Gi"), going))
