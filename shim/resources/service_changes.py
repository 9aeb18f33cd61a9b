"""How a Service may change: addresses once given stay, and what a change of type leaves without meaning goes."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import cidr_warnings, ip_warnings
from shim.resources.causes import IMMUTABLE, forbidden, invalid
from shim.resources.service_rules import balancer_class, externally_accessible, is_headless, needs_health_check

_ONCE = "may not change once set"
_PORTS = ("NodePort", "LoadBalancer")


def change(new: Object, old: Object) -> list[FieldError]:
    """The reasons that lie in the difference."""
    spec, before = new["spec"], old["spec"]
    causes: list[FieldError] = []
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        headless, was_headless = is_headless(spec), is_headless(before)
        if not (headless and was_headless):
            causes += _addresses(spec, before)
        if not headless and not was_headless:
            causes += _families(spec, before)
    both = spec.get("type") == before.get("type") == "LoadBalancer"
    if both and spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
        causes.append(invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), _ONCE))
    causes += balancer_class(spec, spec.get("type") or "")
    checked = needs_health_check(before) and needs_health_check(spec)
    if checked and before.get("healthCheckNodePort") != spec.get("healthCheckNodePort"):
        causes.append(forbidden("spec.healthCheckNodePort", IMMUTABLE))
    return causes


def _addresses(spec: Object, before: Object) -> list[FieldError]:
    """The second address may come and go; the first is the Service's for good."""
    now, was = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    at, shown = "spec.clusterIPs", now or None
    if len(now) == len(was):
        changed = [index for index, address in enumerate(was) if now[index] != address]
        return [invalid(f"{at}[{index}]", shown, _ONCE) for index in changed]
    causes: list[FieldError] = []
    if not now:
        causes.append(invalid(f"{at}[0]", shown, "primary clusterIP can not be unset"))
    elif was and now[0] != was[0]:
        causes.append(invalid(f"{at}[0]", shown, _ONCE))
    if len(now) == 1 < len(was):
        causes += _single_stack(spec, "clusterIP")
    return causes


def _families(spec: Object, before: Object) -> list[FieldError]:
    now, was = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    at, addresses = "spec.ipFamilies[0]", spec.get("clusterIPs")  # which upstream shows where it means the families
    if len(now) == len(was):
        return [invalid(at, now, _ONCE) for index, family in enumerate(was) if now[index] != family]
    causes: list[FieldError] = []
    if len(now) < len(was) and not addresses:
        causes.append(invalid(at, now or None, "primary ipFamily can not be unset"))
    if now and was and now[0] != was[0]:
        causes.append(invalid(at, addresses, _ONCE))
    if len(now) == 1 < len(was):
        causes += _single_stack(spec, "ipFamily")
    return causes


def _single_stack(spec: Object, released: str) -> list[FieldError]:
    policy = spec.get("ipFamilyPolicy")
    if policy == "SingleStack":
        return []
    text = f"must be set to 'SingleStack' when releasing the secondary {released}"
    return [invalid("spec.ipFamilyPolicy", policy, text)]


def drop_what_the_type_had(spec: Object, before: Object) -> None:
    """A change of type leaves behind what only the old type had, where the client did not change that too."""

    def unchanged(*fields: str) -> bool:
        return all((spec.get(field) or None) == (before.get(field) or None) for field in fields)

    def drop(*fields: str) -> None:
        if unchanged(*fields):
            for field in fields:
                spec.pop(field, None)

    kind, was = spec.get("type"), before.get("type")
    if kind == "ExternalName" != was:
        drop("clusterIP", "clusterIPs")
        drop("ipFamilies")
        drop("ipFamilyPolicy")
    if was in _PORTS and kind not in _PORTS:
        held = {port.get("nodePort") or 0 for port in before.get("ports") or ()} | {0}
        ports = spec.get("ports") or ()
        if all((port.get("nodePort") or 0) in held for port in ports):
            for port in ports:
                port.pop("nodePort", None)
    if needs_health_check(before) and not needs_health_check(spec):
        drop("healthCheckNodePort")
    if was == "LoadBalancer" != kind:
        drop("allocateLoadBalancerNodePorts")
        drop("loadBalancerClass")
    if externally_accessible(before) and not externally_accessible(spec):
        drop("externalTrafficPolicy")


def warnings(obj: Object) -> list[str]:
    """What is set but does nothing, or will one day do nothing."""
    spec = obj["spec"]
    kind, address = spec.get("type"), spec.get("clusterIP")
    headless = kind == "ClusterIP" and address == "None"
    found: list[str] = []
    if "service.kubernetes.io/topology-aware-hints" in (obj["metadata"].get("annotations") or {}):
        annotation = "annotation service.kubernetes.io/topology-aware-hints is deprecated"
        found.append(f"{annotation}, please use service.kubernetes.io/topology-mode instead")
    if address and address != "None":
        found += _spelling("spec.clusterIPs", spec.get("clusterIPs") or [])
    if headless:
        ignored = (
            ("loadBalancerIP", spec.get("loadBalancerIP")),
            ("externalIPs", spec.get("externalIPs")),
            ("SessionAffinity", spec.get("sessionAffinity") not in (None, "None")),
        )
        found += [f"spec.{field} is ignored for headless services" for field, is_set in ignored if is_set]
    outside = spec.get("externalIPs") or []
    found += _spelling("spec.externalIPs", outside)
    if outside and not headless and kind != "ExternalName":
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.get("loadBalancerIP"):
        found += ip_warnings("spec.loadBalancerIP", spec["loadBalancerIP"])
    for index, text in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += cidr_warnings(f"spec.loadBalancerSourceRanges[{index}]", text)
    if outside and kind == "ExternalName":
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


def _spelling(at: str, addresses: list[str]) -> list[str]:
    return [text for index, address in enumerate(addresses) for text in ip_warnings(f"{at}[{index}]", address)]
