"""A proxy that does not keep up says so."""

from __future__ import annotations

import pytest

from netproxy.health.liveness import LATE, Liveness
from netproxy.health.proxy_checks import is_eligible
from shim.api.meta import Object


def test_a_change_that_waits_too_long_is_unhealthy_until_it_is_written() -> None:
    now = 0.0
    proxy = Liveness(lambda: now)
    assert proxy.healthy
    proxy.queued()
    now = LATE - 1
    proxy.queued()  # the first one is what counts
    assert proxy.healthy
    now = LATE
    assert not proxy.healthy
    proxy.written()
    assert proxy.healthy


@pytest.mark.parametrize(
    ("node", "eligible"),
    [
        ({"metadata": {}, "spec": {}}, True),
        ({"metadata": {}, "spec": {"taints": [{"key": "node.kubernetes.io/unschedulable"}]}}, True),
        ({"metadata": {}, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}}, False),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}, False),
        (None, False),
    ],
)
def test_balancers_use_nodes_that_stay(node: Object | None, eligible: bool) -> None:
    assert is_eligible(node) is eligible
