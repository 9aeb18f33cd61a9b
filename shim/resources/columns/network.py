"""What is shown of network kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shim.api.meta import Object
from shim.resources.columns.common import (
    AGE,
    NAME,
    NONE,
    at,
    dig,
    doc,
    first_few,
    labels,
    selector,
    text,
    wide,
)
from shim.resources.strategy import Column


def _load_balancer(obj: Object) -> str:
    found = dig(obj, "status.loadBalancer.ingress") or ()
    return ",".join(sorted({each.get("ip") or each.get("hostname") or "" for each in found} - {""}))


def _external_ip(service: Object) -> str:
    spec = service["spec"]
    kind, fixed = spec.get("type"), spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(fixed) or NONE
    if kind == "LoadBalancer":
        balancer = _load_balancer(service)
        return ",".join([balancer, *fixed] if balancer else fixed) or "<pending>"
    return spec.get("externalName") or "" if kind == "ExternalName" else "<unknown>"


def _port(port: Object) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol')}"


def _cluster_ip(service: Object) -> str:
    found = service["spec"].get("clusterIPs") or ()
    return found[0] if found else NONE


SERVICES = (
    NAME,
    text("Type", doc("core.v1.ServiceSpec", "type"), at("spec.type")),
    text("Cluster-IP", doc("core.v1.ServiceSpec", "clusterIP"), _cluster_ip),
    text("External-IP", doc("core.v1.ServiceSpec", "externalIPs"), _external_ip),
    text(
        "Port(s)",
        doc("core.v1.ServiceSpec", "ports"),
        lambda obj: ",".join(_port(port) for port in obj["spec"].get("ports") or ()) or NONE,
    ),
    AGE,
    wide("Selector", doc("core.v1.ServiceSpec", "selector"), lambda obj: labels(obj["spec"].get("selector"))),
)


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _subset_addresses(obj: Object) -> Iterator[str]:
    for subset in obj.get("subsets") or ():
        addresses = [each["ip"] for each in subset.get("addresses") or ()]
        if not subset.get("ports"):
            yield from addresses
        for port in subset.get("ports") or ():
            yield from (_host_port(address, port["port"]) for address in addresses)


ENDPOINTS = (
    NAME,
    text(
        "Endpoints",
        doc("core.v1.Endpoints", "subsets"),
        lambda obj: first_few(_subset_addresses(obj), empty="") if obj.get("subsets") else NONE,
    ),
    AGE,
)


def _slice_port(port: Object) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return port["name"] if port.get("name") is not None else "*"


ENDPOINT_SLICES = (
    NAME,
    text("AddressType", doc("discovery.v1.EndpointSlice", "addressType"), at("addressType")),
    text(
        "Ports",
        doc("discovery.v1.EndpointSlice", "ports"),
        lambda obj: first_few(_slice_port(port) for port in obj.get("ports") or ()),
    ),
    text(
        "Endpoints",
        doc("discovery.v1.EndpointSlice", "endpoints"),
        lambda obj: first_few(
            address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()
        ),
    ),
    AGE,
)


def _hosts(ingress: Object) -> str:
    rules = dig(ingress, "spec.rules") or ()
    hosts = [rule["host"] for rule in rules[:3] if rule.get("host")]
    if not hosts:
        return "*"
    return ",".join(hosts) + (f" + {len(rules) - 3} more..." if len(rules) > 3 and len(hosts) == 3 else "")


INGRESSES = (
    NAME,
    text(
        "Class",
        "The name of the IngressClass resource that should be used for additional configuration",
        at("spec.ingressClassName", NONE),
    ),
    text("Hosts", "Hosts that incoming requests are matched against before the ingress rule", _hosts),
    text("Address", "Address is a list containing ingress points for the load-balancer", _load_balancer),
    text(
        "Ports",
        "Ports of TLS configurations that open",
        lambda obj: "80, 443" if dig(obj, "spec.tls") else "80",
    ),
    AGE,
)


def _default_name(annotation: str, obj: Object) -> str:
    marked = (obj["metadata"].get("annotations") or {}).get(annotation) == "true"
    return f"{obj['metadata']['name']} (default)" if marked else str(obj["metadata"]["name"])


def _parameters(obj: Object) -> str:
    found = dig(obj, "spec.parameters")
    if not found:
        return NONE
    group = f".{found['apiGroup']}" if found.get("apiGroup") is not None else ""
    return f"{found.get('kind')}{group}/{found.get('name')}"


INGRESS_CLASSES = (
    Column(
        "Name",
        "string",
        NAME.description,
        lambda obj: _default_name("ingressclass.kubernetes.io/is-default-class", obj),
        "name",
    ),
    text("Controller", "Controller that is responsible for handling this class", at("spec.controller")),
    text("Parameters", "A reference to a resource with additional parameters", _parameters),
    AGE,
)

NETWORK_POLICIES = (
    NAME,
    text(
        "Pod-Selector",
        doc("networking.v1.NetworkPolicySpec", "podSelector"),
        lambda obj: selector(dig(obj, "spec.podSelector")),
    ),
    AGE,
)


def _parent(obj: Object) -> str:
    found = dig(obj, "spec.parentRef")
    if not found:
        return NONE
    resource = f"{found.get('resource')}.{found['group']}" if found.get("group") else found.get("resource") or ""
    namespace = f"/{found['namespace']}" if found.get("namespace") else ""
    return f"{resource.lower()}{namespace}/{found.get('name')}"


IP_ADDRESSES = (
    NAME,
    text("ParentRef", doc("networking.v1.IPAddressSpec", "parentRef"), _parent),
    replace(AGE, name=""),  # upstream's rows have this cell, its header has not
)
SERVICE_CIDRS = (
    NAME,
    text("CIDRs", doc("networking.v1.ServiceCIDRSpec", "cidrs"), lambda obj: ",".join(dig(obj, "spec.cidrs") or ())),
    AGE,
)
