"""Default classes, what is in use, and claims that grow."""

from __future__ import annotations

import pytest

from shim.admission.tests.cluster import (
    NAMESPACE,
    Cluster,
    admitted,
    claim,
    create,
    refusal,
    update,
)
from shim.api.meta import Object


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
