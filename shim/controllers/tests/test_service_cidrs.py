"""A range of Service addresses stays as long as an address has no other."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest

from shim.api.conditions import find
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers import service_cidrs
from shim.controllers.service_cidrs import FINALIZER, ServiceCidrController, is_needed
from shim.controllers.tests.cluster import cluster


def cidr(*ranges: str, name: str = "extra") -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": name},
        "spec": {"cidrs": list(ranges)},
    }


CASES = [
    (cidr("10.1.0.0/24"), [], ["10.1.0.7"], True),
    (cidr("10.1.0.0/24"), [], ["10.2.0.7"], False),
    (cidr("10.1.0.0/24"), [cidr("10.1.0.0/16")], ["10.1.0.7"], False),
    (cidr("10.1.0.0/24"), [cidr("10.1.0.0/24")], ["10.1.0.7"], False),
    (cidr("10.1.0.0/24"), [cidr("10.1.0.0/25")], ["10.1.0.7"], False),
    (cidr("10.1.0.0/24"), [cidr("10.1.0.0/25")], ["10.1.0.200"], True),
    (cidr("10.1.0.0/24"), [cidr("10.1.0.0/25")], ["10.1.0.127"], True),  # the smaller one's broadcast address
    (cidr("10.1.0.0/24", "2001:db8::/64"), [cidr("10.1.0.0/16")], ["10.1.0.7"], False),
    (cidr("10.1.0.0/24", "2001:db8::/64"), [cidr("10.1.0.0/16")], ["2001:db8::7"], True),
]


@pytest.mark.parametrize(("going", "others", "addresses", "needed"), CASES)
def test_what_holds_a_range(going: Object, others: list[Object], addresses: list[str], needed: bool) -> None:
    assert is_needed(going, others, map(ipaddress.ip_address, addresses)) is needed


async def test_a_second_range_is_used_and_goes_with_its_last_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_cidrs, "GRACE", datetime.timedelta())
    async with cluster(tmp_path) as here:
        await here.control(ServiceCidrController)
        default = await here.until(r.SERVICECIDRS, "kubernetes", lambda obj: FINALIZER in _finalizers(obj))
        assert default is not None
        await here.client.create(r.SERVICECIDRS, cidr("203.0.113.0/29"))
        ready = await here.until(r.SERVICECIDRS, "extra", lambda obj: find(obj or {}, "Ready"))
        assert _ready(ready) == ("True", "", "Kubernetes Service CIDR is ready")
        spec = {"clusterIP": "203.0.113.2", "ports": [{"port": 80}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
        await here.client.create(r.SERVICES, service, "default")
        await here.client.delete(r.SERVICECIDRS, "extra")
        held = await here.until(
            r.SERVICECIDRS, "extra", lambda obj: (find(obj or {}, "Ready") or {}).get("status") == "False"
        )
        assert _ready(held)[1] == "Terminating"
        with pytest.raises(ApiError, match="the provided network does not match the current range"):
            await here.client.create(
                r.SERVICES,
                {**service, "metadata": {"name": "late"}, "spec": {**spec, "clusterIP": "203.0.113.3"}},
                "default",
            )
        await here.client.delete(r.SERVICES, "s", "default")
        assert await here.until(r.SERVICECIDRS, "extra", lambda obj: obj is None) is None


def _finalizers(obj: Object | None) -> list[str]:
    return list((obj or {"metadata": {}})["metadata"].get("finalizers") or ())


def _ready(obj: Object | None) -> tuple[str, str, str]:
    found = find(obj or {}, "Ready") or {}
    return found["status"], found["reason"], found["message"]
