"""Services and EndpointSlices as the API serves them, in a line each."""

from __future__ import annotations

from typing import Any

from netproxy.rules.family import Ruleset
from netproxy.services.compiler import Place, assemble, compile_port
from netproxy.services.model import SERVICE_NAME, endpoints_of, service_ports

NODE = "node-1"
PLACE = Place(cluster_cidr="10.244.0.0/16", node_ip="172.30.0.11")


def service(name: str, address: str, *ports: dict[str, Any], ingress: tuple[str, ...] = (), **spec: Any) -> Any:
    return {
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"type": "ClusterIP", "clusterIP": address, "ports": list(ports) or [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in ingress]}},
    }


ZONE = "east"


def endpoint(address: str, node: str = NODE, *, nodes: str = "", zones: str = "", **conditions: bool) -> Any:
    """``nodes`` and ``zones`` are hints, with commas."""
    made: dict[str, Any] = {"addresses": [address], "nodeName": node, "conditions": {"ready": True, **conditions}}
    for field, names in (("forNodes", nodes), ("forZones", zones)):
        if names:
            made.setdefault("hints", {})[field] = [{"name": name} for name in names.split(",")]
    return made


def slice_of(name: str, *endpoints: Any, ports: tuple[dict[str, Any], ...] = ({"name": "", "port": 8080},)) -> Any:
    return {
        "metadata": {"namespace": "shop", "name": f"{name}-x", "labels": {SERVICE_NAME: name}},
        "addressType": "IPv4",
        "ports": [{"protocol": "TCP", **port} for port in ports],
        "endpoints": list(endpoints),
    }


def ruleset(*objects: Any, place: Place = PLACE, node: str = NODE) -> Ruleset:
    """The rules of Services and their slices."""
    slices = [each for each in objects if "endpoints" in each]
    return assemble(
        compile_port(port, endpoints_of(port, _of(each, slices), node, ZONE), place)
        for each in objects
        if "spec" in each
        for port in service_ports(each)
    )


def _of(service: Any, slices: list[Any]) -> list[Any]:
    return [each for each in slices if each["metadata"]["labels"][SERVICE_NAME] == service["metadata"]["name"]]
