"""Addresses for Services of type LoadBalancer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.load_balancer import EXCLUDED, LoadBalancerController, addresses, taken_by
from shim.controllers.tests.cluster import cluster, ready_condition


def node(name: str, ip: str, ready: str = "True", **labels: str) -> Object:
    status = {"conditions": [ready_condition(ready)], "addresses": [{"type": "InternalIP", "address": ip}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": status}


def balanced(name: str, port: int = 80, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": [{"port": port}], **spec}}


def test_every_node_that_works_and_may_is_an_address() -> None:
    nodes = [node("b", "10.0.0.2"), node("a", "10.0.0.1"), node("away", "10.0.0.3", "False")]
    nodes.append(node("not", "10.0.0.4", **{EXCLUDED: ""}))
    assert [each["ip"] for each in addresses(balanced("s"), nodes)] == ["10.0.0.1", "10.0.0.2"]


def test_the_oldest_service_has_the_port() -> None:
    old, young = balanced("z"), balanced("a", created="2026-01-01T00:00:01Z")
    assert taken_by(old, [old, young]) is None
    assert taken_by(young, [old, young]) == (old, 80)
    assert taken_by(young, [balanced("z", 81), young]) is None
    assert taken_by(young, [balanced("z", loadBalancerClass="example.com/other"), young]) is None


async def test_the_address_comes_and_goes_and_the_port_is_handed_on(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c:
        await c.add_node("n1")
        address = [{"type": "InternalIP", "address": "10.0.0.1"}]
        await c.client.patch(r.NODES, "n1", {"status": {"addresses": address}}, subresource="status")
        await c.control(LoadBalancerController)

        def ingress(found: Object | None) -> list[Object]:
            return ((found or {}).get("status", {}).get("loadBalancer") or {}).get("ingress") or []

        spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": "a"}}
        for name in ("first", "second"):
            made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
            await c.client.create(r.SERVICES, made, "default")
            if name == "first":
                await c.until(r.SERVICES, name, lambda found: ingress(found) == [{"ip": "10.0.0.1", "ipMode": "VIP"}])
        await c.client.patch(r.SERVICES, "first", {"spec": {"type": "ClusterIP"}}, "default")
        await c.until(r.SERVICES, "second", ingress)
        await c.until(r.SERVICES, "first", lambda found: not ingress(found))
