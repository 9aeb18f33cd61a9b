"""The cluster DNS's endpoints: each node's own name server, for the node's own pods."""

from __future__ import annotations

from shim.api.meta import Object
from shim.controllers.cluster_dns import endpoints


def node(name: str, cidr: str, ready: str, zone: str = "") -> Object:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    spec = {"podCIDR": cidr} if cidr else {}
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}


def test_each_node_with_a_pod_network_is_an_endpoint_for_its_own_pods() -> None:
    nodes = [node("b", "10.244.1.0/24", "True", "east"), node("a", "10.244.0.0/24", "Unknown"), node("new", "", "True")]
    assert endpoints(nodes) == [
        {
            "addresses": ["10.244.0.1"],
            "conditions": {"ready": False},
            "nodeName": "a",
            "hints": {"forNodes": [{"name": "a"}]},
        },
        {
            "addresses": ["10.244.1.1"],
            "conditions": {"ready": True},
            "nodeName": "b",
            "zone": "east",
            "hints": {"forZones": [{"name": "east"}], "forNodes": [{"name": "b"}]},
        },
    ]
