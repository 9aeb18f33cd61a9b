"""What must hold of Services."""

from __future__ import annotations

import ipaddress

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import (
    NOT_A_CIDR,
    duplicate,
    forbidden,
    invalid,
    labels,
    named,
    one_of,
    required,
    unsupported,
)
from shim.resources.pods.containers import PROTOCOLS
from shim.resources.pods.probes import port as target_port
from shim.resources.pods.validation import ip_address

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_DAY = 86400


def externally_accessible(spec: Object) -> bool:
    """Whether traffic may come from outside the cluster, so that an external traffic policy means something."""
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_headless(spec: Object) -> bool:
    return bool((spec.get("clusterIPs") or [spec.get("clusterIP")])[0] == "None")


def service(obj: Object) -> list[FieldError]:
    """All of it but what allocation says: addresses and ports are given out after this."""
    spec = obj["spec"]
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
        causes += _cluster_ips(spec)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        causes += ip_address(f"spec.externalIPs[{index}]", address) or _no_endpoint(
            f"spec.externalIPs[{index}]", address
        )
    causes += one_of("spec.type", kind, _TYPES)
    causes += _repeated_ports(ports, kind)
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges and kind != "LoadBalancer":
        causes.append(forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'"))
    for index, text in enumerate(ranges):
        causes += cidr(f"spec.LoadBalancerSourceRanges[{index}]", text.strip())
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        causes.append(forbidden("spec.allocateLoadBalancerNodePorts", text))
    if spec.get("loadBalancerClass") is not None:
        if kind != "LoadBalancer":
            causes.append(forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'"))
        else:
            causes += named("spec.loadBalancerClass", spec["loadBalancerClass"], names.qualified_name)
    return causes + _traffic(spec)


def _type_rules(spec: Object, kind: str) -> list[FieldError]:
    if kind in ("LoadBalancer", "NodePort"):
        if is_headless(spec):
            return [invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")]
        return []
    if kind != "ExternalName":
        return []
    text = "may not be set for ExternalName services"
    causes = [
        forbidden(f"spec.{field}", text) for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy") if spec.get(field)
    ]
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        return [*causes, required("spec.externalName")]
    return causes + named("spec.externalName", name, names.dns1123_subdomain)


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
    causes = one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    config = spec.get("sessionAffinityConfig")
    if affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds") or 0
        if not 0 < seconds <= _DAY:
            at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            causes.append(invalid(at, seconds, f"must be greater than 0 and less than {_DAY}"))
    elif affinity == "None" and config is not None:
        text = "must not be set when session affinity is None"
        causes.append(forbidden("spec.sessionAffinityConfig", text))
    return causes


def _cluster_ips(spec: Object) -> list[FieldError]:
    address, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    causes: list[FieldError] = []
    if address and addresses and addresses[0] != address:
        causes.append(invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`"))
    elif addresses and not address:
        causes.append(invalid("spec.clusterIPs", addresses, "must be empty when `clusterIP` is not specified"))
    seen: set[str] = set()
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        causes += one_of(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6"))
        if family in seen:
            causes.append(duplicate(f"spec.ipFamilies[{index}]", family))
        seen.add(family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None:
        supported = ("PreferDualStack", "RequireDualStack", "SingleStack")
        causes += one_of("spec.ipFamilyPolicy", policy, supported)
    for index, each in enumerate(addresses):
        if index == 0 and each == "None":
            if len(addresses) > 1:
                causes.append(invalid("spec.clusterIPs", addresses, "'None' must be the first and only value"))
            continue
        causes += ip_address(f"spec.clusterIPs[{index}]", each)
    if len(addresses) > 2:
        causes.append(invalid("spec.clusterIPs", addresses, "may only hold up to 2 values"))
    return causes


def _no_endpoint(at: str, text: str) -> list[FieldError]:
    """Addresses that mean something else than one machine."""
    address = ipaddress.ip_address(text)
    if address.is_unspecified:
        return [invalid(at, text, f"may not be unspecified ({text})")]
    if address.is_loopback:
        return [invalid(at, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")]
    if address.is_link_local:
        return [invalid(at, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")]
    if address.is_multicast and (
        (address.packed[0] == 0xFF and address.packed[1] == 2) or str(text).startswith("224.0.0.")
    ):
        return [invalid(at, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")]
    return []


def endpoint_address(at: str, text: str) -> list[FieldError]:
    """An address that an endpoint may have."""
    return ip_address(at, text) or _no_endpoint(at, text)


def cidr(at: str, text: str) -> list[FieldError]:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return [invalid(at, text, NOT_A_CIDR)]
    return [] if "/" in text else [invalid(at, text, NOT_A_CIDR)]


def _traffic(spec: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    policy = spec.get("externalTrafficPolicy") or ""
    if not externally_accessible(spec):
        if policy:
            text = "may only be set for externally-accessible services"
            causes.append(invalid("spec.externalTrafficPolicy", policy, text))
    else:
        causes += one_of("spec.externalTrafficPolicy", policy, ("Cluster", "Local"))
    port = spec.get("healthCheckNodePort") or 0
    if port and not needs_health_check(spec):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid("spec.healthCheckNodePort", port, text))
    inside = spec.get("internalTrafficPolicy")
    if inside is not None:
        causes += one_of("spec.internalTrafficPolicy", inside, ("Cluster", "Local"))
    spread = spec.get("trafficDistribution")
    if spread is not None:
        supported = ("PreferClose", "PreferSameNode", "PreferSameZone")
        causes += one_of("spec.trafficDistribution", spread, supported)
    return causes


def change(new: Object, old: Object) -> list[FieldError]:
    """An address once given stays; the health check's port too."""
    spec, before = new["spec"], old["spec"]
    causes: list[FieldError] = []
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        now, was = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
        if was and now[:1] != was[:1]:
            causes.append(invalid("spec.clusterIPs[0]", now, "may not change once set"))
    both = before.get("type") == spec.get("type") == "LoadBalancer"
    balancer, was_balancer = spec.get("loadBalancerClass"), before.get("loadBalancerClass")
    if both and was_balancer is not None and balancer != was_balancer:
        causes.append(invalid("spec.loadBalancerClass", balancer, "may not change once set"))
    checked = needs_health_check(before) and needs_health_check(spec)
    if checked and before.get("healthCheckNodePort") != spec.get("healthCheckNodePort"):
        causes.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return causes


def warnings(obj: Object) -> list[str]:
    """What is set but does nothing, or will one day do nothing."""
    spec = obj["spec"]
    kind, headless = spec.get("type"), spec.get("type") == "ClusterIP" and spec.get("clusterIP") == "None"
    found: list[str] = []
    if headless:
        ignored = (
            ("loadBalancerIP", spec.get("loadBalancerIP")),
            ("externalIPs", spec.get("externalIPs")),
            ("SessionAffinity", spec.get("sessionAffinity") not in (None, "None")),
        )
        found += [f"spec.{field} is ignored for headless services" for field, is_set in ignored if is_set]
    if spec.get("externalIPs") and not headless:
        if kind == "ExternalName":
            found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
        else:
            found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if kind != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found
