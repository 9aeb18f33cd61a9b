"""What is kept of objects makes the same rules and names as the whole of them."""

from __future__ import annotations

import copy
from typing import Any

from netproxy import kept
from netproxy.dns.zone import Zone, records_of
from netproxy.services.tests.builders import endpoint, ruleset, service, slice_of

SERVICES = [
    service("web", "10.96.1.1", {"port": 80, "nodePort": 30080}, type="NodePort", externalTrafficPolicy="Local"),
    service("sticky", "10.96.1.2", sessionAffinity="ClientIP", internalTrafficPolicy="Local"),
    service(
        "lb",
        "10.96.1.3",
        {"port": 80, "nodePort": 30082, "name": "http"},
        type="LoadBalancer",
        ingress=("198.51.100.5",),
        loadBalancerSourceRanges=["192.168.0.0/16"],
        externalIPs=["203.0.113.9"],
        externalTrafficPolicy="Local",
        healthCheckNodePort=30099,
    ),
    service("headless", "None"),
    {**service("alias", ""), "spec": {"type": "ExternalName", "externalName": "example.com"}},
]
SLICES = [
    slice_of(
        name,
        endpoint("10.244.1.5", zones="east"),
        {**endpoint("10.244.1.6", ready=False, serving=True, terminating=True), "hostname": "a"},
        endpoint("10.244.2.7", "node-2", zones="west"),
        ports=({"name": "http" if name == "lb" else "", "port": 8080},),
    )
    for name in ("web", "sticky", "lb", "headless")
]


def heavy(obj: Any) -> Any:
    """With what real objects have besides."""
    made = copy.deepcopy(obj)
    made["metadata"] |= {"annotations": {"some": "text"}, "ownerReferences": [{"uid": "u"}], "creationTimestamp": "t"}
    for each in made.get("endpoints", ()):
        each["targetRef"] = {"kind": "Pod", "name": "p"}
    return made


def test_rules_and_names_are_the_same() -> None:
    services = [kept.service(heavy(each)) for each in SERVICES]
    slices = [kept.endpoint_slice(heavy(each)) for each in SLICES]
    assert ruleset(*services, *slices) == ruleset(*SERVICES, *SLICES)
    for some, whole in zip(services, SERVICES, strict=True):
        assert list(records_of(some, slices[3:], "d")) == list(records_of(whole, SLICES[3:], "d"))
    zone = Zone("d")
    for each in services:
        zone.set_service(each)
    assert zone.find("alias.shop.svc.d", 5).exists


def test_equal_parts_are_kept_once_and_nothing_besides() -> None:
    one, other = (kept.endpoint_slice(heavy(slice_of("web", endpoint(f"10.244.1.{n}")))) for n in (1, 2))
    assert one["ports"] is other["ports"]
    assert one["endpoints"][0]["conditions"] is other["endpoints"][0]["conditions"]
    assert one["endpoints"][0] == {"addresses": ("10.244.1.1",), "nodeName": "node-1", "conditions": {"ready": True}}
    spec = {"podCIDR": "10.244.1.0/24"}
    node = {"metadata": {"name": "n", "labels": {"a": "b"}}, "spec": spec, "status": {"images": []}}
    assert kept.node(node) == {"metadata": {"name": "n"}, "spec": spec, "status": {}}
