"""What must hold of a Service by itself; what may follow what is in :mod:`shim.resources.service_changes`.

Addresses and ports are given out before these rules are asked: what is refused was not written, nor were they.
"""

from __future__ import annotations

from collections.abc import Collection

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import cidr, endpoint_ip, ip_address, parse
from shim.resources.causes import duplicate, forbidden, invalid, labels, named, one_of, required, unsupported
from shim.resources.pods.containers import PROTOCOLS
from shim.resources.pods.probes import port as target_port

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_DAY = 86400
_BALANCERS_ONLY = "may only be used when `type` is 'LoadBalancer'"
_OLD_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def externally_accessible(spec: Object) -> bool:
    """Whether traffic may come from outside the cluster, so that an external traffic policy means something."""
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_headless(spec: Object) -> bool:
    return (spec.get("clusterIPs") or []) == ["None"]


def service(obj: Object, old: Object | None = None) -> list[FieldError]:
    """All of a Service but its metadata; what ``old`` already had of odd addresses it may keep."""
    spec, before = obj["spec"], (old or {}).get("spec") or {}
    kind, ports = spec.get("type") or "", spec.get("ports") or []
    causes: list[FieldError] = []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        causes.append(required("spec.ports"))
    causes += _type_rules(spec, kind)
    seen: set[str] = set()
    for index, port in enumerate(ports):
        causes += _port(f"spec.ports[{index}]", port, len(ports) > 1, seen)
    causes += labels("spec.selector", spec.get("selector"))
    causes += _affinity(spec)
    if kind != "ExternalName":
        causes += cluster_ips(spec, before.get("clusterIPs") or ())
    for index, address in enumerate(spec.get("externalIPs") or ()):
        at = f"spec.externalIPs[{index}]"
        causes += ip_address(at, address, before.get("externalIPs") or ()) or endpoint_ip(at, address)
    causes += [required("spec.type")] if not kind else one_of("spec.type", kind, _TYPES)
    causes += _repeated_ports(ports, kind)
    causes += _source_ranges(obj, kind, before.get("loadBalancerSourceRanges") or ())
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        causes.append(forbidden("spec.allocateLoadBalancerNodePorts", _BALANCERS_ONLY))
    return causes + balancer_class(spec, kind) + _traffic(spec)


def _type_rules(spec: Object, kind: str) -> list[FieldError]:
    if kind in ("LoadBalancer", "NodePort"):
        if is_headless(spec):
            return [invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")]
        return []
    if kind != "ExternalName":
        return []
    text = "may not be set for ExternalName services"
    causes = [forbidden(f"spec.{field}", text) for field in ("clusterIPs", "ipFamilies") if spec.get(field)]
    if spec.get("ipFamilyPolicy") is not None:
        causes.append(forbidden("spec.ipFamilyPolicy", text))
    name = spec.get("externalName") or ""
    if not name.removesuffix("."):
        return [*causes, required("spec.externalName")]
    return causes + named("spec.externalName", name.removesuffix("."), names.dns1123_subdomain)


def _port(at: str, port: Object, must_be_named: bool, seen: set[str]) -> list[FieldError]:
    causes: list[FieldError] = []
    name = port.get("name") or ""
    if name:
        causes += named(f"{at}.name", name, names.dns1123_label)
        if name in seen:
            causes.append(duplicate(f"{at}.name", name))
        seen.add(name)
    elif must_be_named:
        causes.append(required(f"{at}.name"))
    number = port.get("port") or 0
    causes += [invalid(f"{at}.port", number, text) for text in names.port_number(number)]
    if port.get("protocol") not in PROTOCOLS:
        causes.append(unsupported(f"{at}.protocol", port.get("protocol") or "", PROTOCOLS))
    causes += target_port(f"{at}.targetPort", port.get("targetPort"))
    if port.get("appProtocol") is not None:
        causes += named(f"{at}.appProtocol", port["appProtocol"], names.qualified_name)
    return causes


def _repeated_ports(ports: list[Object], kind: str) -> list[FieldError]:
    causes: list[FieldError] = []
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                text = "may not be used when `type` is 'ClusterIP'"
                causes.append(forbidden(f"spec.ports[{index}].nodePort", text))
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        taken = (port.get("protocol") or "", port.get("nodePort") or 0)
        if taken[1] and taken in node_ports:
            causes.append(duplicate(f"spec.ports[{index}].nodePort", taken[1]))
        node_ports.add(taken)
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        used = (port.get("protocol") or "", port.get("port") or 0)
        if used in numbers:
            # printed as upstream's own type has it, with what did not count left empty
            shown = {"Name": "", "Protocol": used[0], "AppProtocol": None, "Port": used[1]}
            causes.append(duplicate(f"spec.ports[{index}]", {**shown, "TargetPort": 0, "NodePort": 0}))
        numbers.add(used)
    return causes


def _affinity(spec: Object) -> list[FieldError]:
    affinity = spec.get("sessionAffinity") or ""
    at = "spec.sessionAffinity"
    causes = one_of(at, affinity, ("ClientIP", "None")) if affinity else [required(at)]
    config = spec.get("sessionAffinityConfig")
    if affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds") or 0
        if not 0 < seconds <= _DAY:
            here = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            causes.append(invalid(here, seconds, f"must be greater than 0 and less than {_DAY}"))
    elif affinity == "None" and config is not None:
        text = "must not be set when session affinity is None"
        causes.append(forbidden("spec.sessionAffinityConfig", text))
    return causes


def cluster_ips(spec: Object, known: Collection[str]) -> list[FieldError]:
    """Up to one address of each family; ``clusterIP`` is the first once more."""
    at, address, addresses = "spec.clusterIPs", spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    causes: list[FieldError] = []
    if address and not addresses:
        causes.append(required(at))
    elif address and addresses[0] != address:
        causes.append(invalid(at, addresses, "first value must match `clusterIP`"))
    elif addresses and not address:
        causes.append(invalid(at, addresses, "must be empty when `clusterIP` is not specified"))
    families = spec.get("ipFamilies") or []
    for index, family in enumerate(families):
        causes += one_of(f"spec.ipFamilies[{index}]", family, _FAMILIES)
        if family in families[:index]:
            causes.append(duplicate(f"spec.ipFamilies[{index}]", family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None:
        causes += one_of("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES)
    wrong: list[FieldError] = []
    for index, each in enumerate(addresses):
        if index or each != "None":
            wrong += ip_address(f"{at}[{index}]", each, known)
        elif len(addresses) > 1:
            wrong.append(invalid(at, addresses, "'None' must be the first and only value"))
    causes += wrong
    if len(addresses) > 2:
        causes.append(invalid(at, addresses, "may only hold up to 2 values"))
    return causes if wrong or is_headless(spec) else causes + _families_fit(at, addresses, families)


def _families_fit(at: str, addresses: list[str], families: list[str]) -> list[FieldError]:
    found = [f"IPv{address.version}" for address in map(parse, addresses) if address]
    causes: list[FieldError] = []
    if len(found) > 1 and sorted(found) != list(_FAMILIES):
        causes.append(invalid(at, addresses, "may specify no more than one IP for each IP family"))
    for index, (family, wanted) in enumerate(zip(found, families, strict=False)):
        if wanted in _FAMILIES and wanted != family:
            text = f"expected an {wanted} value as indicated by `ipFamilies[{index}]`"
            causes.append(invalid(f"{at}[{index}]", addresses[index], text))
    return causes


def _source_ranges(obj: Object, kind: str, known: Collection[str]) -> list[FieldError]:
    """Who may use a load balancer: a field today, an annotation before it."""
    at, found = "spec.LoadBalancerSourceRanges", obj["spec"].get("loadBalancerSourceRanges") or []
    if found:
        causes = [] if kind == "LoadBalancer" else [forbidden(at, _BALANCERS_ONLY)]
        for index, text in enumerate(found):
            # spaces around a range were accepted once, and what is stored with them stays
            causes += cidr(f"{at}[{index}]", text if text in known else text.strip(), known)
        return causes
    text = (obj["metadata"].get("annotations") or {}).get(_OLD_RANGES)
    if text is None:
        return []
    at = f"metadata.annotations[{_OLD_RANGES}]"
    if kind != "LoadBalancer":
        return [forbidden(at, _BALANCERS_ONLY)]
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if any(cidr(at, part) for part in parts):
        wanted = "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24"
        return [invalid(at, text, wanted)]
    return []


def balancer_class(spec: Object, kind: str) -> list[FieldError]:
    name = spec.get("loadBalancerClass")
    if name is None:
        return []
    if kind != "LoadBalancer":
        return [forbidden("spec.loadBalancerClass", _BALANCERS_ONLY)]
    return named("spec.loadBalancerClass", name, names.qualified_name)


def _traffic(spec: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    at, policy = "spec.externalTrafficPolicy", spec.get("externalTrafficPolicy") or ""
    if policy and not externally_accessible(spec):
        causes.append(invalid(at, policy, "may only be set for externally-accessible services"))
    elif externally_accessible(spec):
        causes += one_of(at, policy, POLICIES) if policy else [required(at)]
    port = spec.get("healthCheckNodePort") or 0
    if port and not needs_health_check(spec):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid("spec.healthCheckNodePort", port, text))
    elif port:
        causes += [invalid("spec.healthCheckNodePort", port, text) for text in names.port_number(port)]
    inside = spec.get("internalTrafficPolicy")
    if inside is not None:
        causes += one_of("spec.internalTrafficPolicy", inside, POLICIES)
    spread = spec.get("trafficDistribution")
    if spread is not None:
        causes += one_of("spec.trafficDistribution", spread, _DISTRIBUTIONS)
    return causes


def balancer_status(obj: Object, old: Object) -> list[FieldError]:
    """Where a load balancer listens."""

    def ingress(of: Object) -> list[Object]:
        return ((of.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []

    at, found = "status.loadBalancer.ingress", ingress(obj)
    if found and obj["spec"].get("type") != "LoadBalancer":
        return [forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")]
    known = {each.get("ip") for each in ingress(old)}
    causes: list[FieldError] = []
    for index, each in enumerate(found):
        causes += _ingress(f"{at}[{index}]", each, known)
    return causes


def _ingress(at: str, each: Object, known: Collection[str | None]) -> list[FieldError]:
    address, mode, host = each.get("ip") or "", each.get("ipMode"), each.get("hostname") or ""
    causes = ip_address(f"{at}.ip", address) if address and address not in known else []
    if mode is None:
        causes += [required(f"{at}.ipMode", "must be specified when `ip` is set")] if address else []
    elif not address:
        causes.append(forbidden(f"{at}.ipMode", "may not be specified when `ip` is not set"))
    else:
        causes += one_of(f"{at}.ipMode", mode, ("Proxy", "VIP"))
    if host:
        causes += named(f"{at}.hostname", host, names.dns1123_subdomain)
        if parse(host):
            causes.append(invalid(f"{at}.hostname", host, "must be a DNS name, not an IP address"))
    return causes
