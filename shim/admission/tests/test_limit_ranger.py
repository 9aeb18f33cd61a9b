"""What a LimitRange fills in, and what is too small or too large for it."""

from __future__ import annotations

import pytest

from shim.admission.tests.cluster import (
    ACCOUNT,
    NAMESPACE,
    POD,
    Cluster,
    admitted,
    claim,
    container,
    create,
    pod,
    refusal,
    update,
)
from shim.api.meta import Object


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
