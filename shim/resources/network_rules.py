"""What must hold of Ingresses and NetworkPolicies."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import cidr, ip_address, parse, parse_range
from shim.resources.causes import (
    domain_prefixed_path,
    forbidden,
    invalid,
    label_selector,
    named,
    one_of,
    required,
    too_long,
    unsupported,
)
from shim.resources.metadata import path_segment
from shim.resources.pods.containers import PROTOCOLS
from shim.resources.pods.probes import port as port_or_name


def network_policy(obj: Object, known: Collection[str] = ()) -> list[FieldError]:
    spec = obj.get("spec") or {}
    causes = label_selector("spec.podSelector", spec.get("podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            at = f"spec.{direction}[{index}]"
            for port_index, port in enumerate(rule.get("ports") or ()):
                causes += _policy_port(f"{at}.ports[{port_index}]", port)
            for peer_index, peer in enumerate(rule.get(peers) or ()):
                causes += _policy_peer(f"{at}.{peers}[{peer_index}]", peer, known)
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        return [*causes, invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    for index, kind in enumerate(types):
        causes += one_of(f"spec.policyTypes[{index}]", kind, ("Ingress", "Egress"))
    return causes


def _policy_port(at: str, port: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    if port.get("protocol") not in (None, *PROTOCOLS):
        causes.append(unsupported(f"{at}.protocol", port["protocol"], ("TCP", "UDP", "SCTP")))
    number, end = port.get("port"), port.get("endPort")
    if number is None:
        if end is not None:
            causes.append(invalid(f"{at}.endPort", end, "may not be specified when `port` is not specified"))
        return causes
    if isinstance(number, str):
        if end is not None:
            causes.append(invalid(f"{at}.endPort", end, "may not be specified when `port` is non-numeric"))
        return causes + named(f"{at}.port", number, names.port_name)
    causes += port_or_name(f"{at}.port", number)
    if end is not None:
        if end < number:
            causes.append(invalid(f"{at}.endPort", number, "must be greater than or equal to `port`"))
        causes += [invalid(f"{at}.endPort", end, text) for text in names.port_number(end)]
    return causes


def _policy_peer(at: str, peer: Object, known: Collection[str]) -> list[FieldError]:
    causes: list[FieldError] = []
    found = 0
    for field in ("podSelector", "namespaceSelector"):
        if peer.get(field) is not None:
            found += 1
            causes += label_selector(f"{at}.{field}", peer[field])
    block = peer.get("ipBlock")
    if block is not None:
        causes += _ip_block(f"{at}.ipBlock", block, known)
        if found:
            causes.append(forbidden(at, "may not specify both ipBlock and another peer"))
    elif not found:
        causes.append(required(at, "must specify a peer"))
    return causes


def _ip_block(at: str, block: Object, known: Collection[str]) -> list[FieldError]:
    text = block.get("cidr") or ""
    if not text:
        return [required(f"{at}.cidr")]
    causes = cidr(f"{at}.cidr", text, known)
    whole = parse_range(text)
    if causes or whole is None:
        return causes
    for index, part in enumerate(block.get("except") or ()):
        here = f"{at}.except[{index}]"
        found, inner = cidr(here, part, known), parse_range(part)
        if not found and inner is not None:
            inside = inner[1].version == whole[1].version and inner[1].network_address in whole[1]
            if not inside or whole[1].prefixlen >= inner[1].prefixlen:
                found = [invalid(here, part, "must be a strict subset of `cidr`")]
        causes += found
    return causes


def blocks(policy: Object) -> Iterator[tuple[str, str]]:
    """The ranges that a policy names, each with its path."""
    spec = policy.get("spec") or {}
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            for peer_index, peer in enumerate(rule.get(peers) or ()):
                block, at = peer.get("ipBlock") or {}, f"spec.{direction}[{index}].{peers}[{peer_index}].ipBlock"
                if block.get("cidr"):
                    yield f"{at}.cidr", block["cidr"]
                for part_index, part in enumerate(block.get("except") or ()):
                    yield f"{at}.except[{part_index}]", part


_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")


CLASS = "kubernetes.io/ingress.class"
_LONGEST_CONTROLLER = 250


def ingress(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    causes: list[FieldError] = []
    if not rules and backend is None:
        causes.append(invalid("spec", None, "either `defaultBackend` or `rules` must be specified"))
    if backend is not None:
        causes += _backend("spec.defaultBackend", backend)
    for index, rule in enumerate(rules):
        causes += _ingress_rule(f"spec.rules[{index}]", rule)
    had_bad_name = any(_secret_name("", tls) for tls in ((old or {}).get("spec") or {}).get("tls") or ())
    for index, tls in enumerate(spec.get("tls") or ()):
        for host_index, host in enumerate(tls.get("hosts") or ()):
            causes += _host(f"spec.tls[{index}].hosts[{host_index}]", host)
        if not had_bad_name:
            causes += _secret_name(f"spec.tls[{index}].secretName", tls)
    if spec.get("ingressClassName") is not None:
        causes += named("spec.ingressClassName", spec["ingressClassName"], names.dns1123_subdomain)
    return causes


def _secret_name(at: str, tls: Object) -> list[FieldError]:
    name = tls.get("secretName") or ""
    return named(at, name, names.dns1123_subdomain) if name else []


def ingress_class_twice(obj: Object) -> list[FieldError]:
    """The class may be named in an annotation, as it once was, and in the field, but not differently."""
    said, name = (obj["metadata"].get("annotations") or {}).get(CLASS), (obj.get("spec") or {}).get("ingressClassName")
    if said is None or name is None or said == name:
        return []
    return [invalid(f"annotations.{CLASS}", said, "must match `ingressClassName` when both are specified")]


def ingress_status(new: Object, old: Object) -> list[FieldError]:
    now, before = (((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or () for obj in (new, old))
    known = [each["ip"] for each in before if each.get("ip")]
    causes: list[FieldError] = []
    for index, each in enumerate(now):
        at, host = f"status.loadBalancer.ingress[{index}]", each.get("hostname") or ""
        if each.get("ip"):
            causes += ip_address(f"{at}.ip", each["ip"], known)
        if host:
            causes += named(f"{at}.hostname", host, names.dns1123_subdomain)
            if parse(host) is not None:
                causes.append(invalid(f"{at}.hostname", host, "must be a DNS name, not an IP address"))
    return causes


def ingress_class(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    controller, parameters = spec.get("controller") or "", spec.get("parameters")
    causes: list[FieldError] = []
    if len(controller) > _LONGEST_CONTROLLER:
        causes.append(too_long("spec.controller", _LONGEST_CONTROLLER))
    causes += domain_prefixed_path("spec.controller", controller)
    if parameters is None:
        return causes
    at, scope, space = "spec.parameters", parameters.get("scope"), parameters.get("namespace")
    causes += _object_reference(at, parameters)
    if scope not in ("Cluster", "Namespace"):
        return [*causes, unsupported(f"{at}.scope", scope, ("Cluster", "Namespace"))]
    if scope == "Cluster" and space is not None:
        causes.append(forbidden(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'"))
    if scope == "Namespace":
        missing = [required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'")]
        causes += missing if space is None else named(f"{at}.namespace", space, names.dns1123_label)
    return causes


def _object_reference(at: str, reference: Object) -> list[FieldError]:
    group = reference.get("apiGroup")
    causes = [] if group is None else named(f"{at}.apiGroup", group, names.dns1123_subdomain)
    for field in ("kind", "name"):
        value = reference.get(field) or ""
        causes += named(f"{at}.{field}", value, path_segment) if value else [required(f"{at}.{field}")]
    return causes


def _host(at: str, host: str) -> list[FieldError]:
    return named(at, host, names.wildcard_subdomain if "*" in host else names.dns1123_subdomain)


def _ingress_rule(at: str, rule: Object) -> list[FieldError]:
    host = rule.get("host") or ""
    causes: list[FieldError] = []
    if host:
        try:
            ipaddress.ip_address(host)
            causes.append(invalid(f"{at}.host", host, "must be a DNS name, not an IP address"))
        except ValueError:
            pass
        causes += _host(f"{at}.host", host)
    if rule.get("http") is None:
        return causes
    paths = rule["http"].get("paths") or []
    if not paths:
        causes.append(required(f"{at}.http.paths"))
    for index, path in enumerate(paths):
        causes += _path(f"{at}.http.paths[{index}]", path)
    return causes


def _path(at: str, path: Object) -> list[FieldError]:
    kind, text = path.get("pathType"), path.get("path") or ""
    if kind is None:
        return [required(f"{at}.pathType", "pathType must be specified")]
    causes = one_of(f"{at}.pathType", kind, _PATH_TYPES)
    if not causes and (text or kind != "ImplementationSpecific"):
        if not text.startswith("/"):
            causes.append(invalid(f"{at}.path", text, "must be an absolute path"))
        if kind != "ImplementationSpecific":
            bad = [f"must not contain '{part}'" for part in _BAD_PARTS if part in text]
            bad += [f"cannot end with '{end}'" for end in _BAD_ENDS if text.endswith(end)]
            causes += [invalid(f"{at}.path", text, complaint) for complaint in bad]
    return causes + _backend(f"{at}.backend", path.get("backend") or {})


def _backend(at: str, backend: Object) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [invalid(at, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _object_reference(f"{at}.resource", resource)
    if service is None:
        return [invalid(at, "", "resource or service backend is required")]
    name, port = service.get("name") or "", service.get("port") or {}
    causes = named(f"{at}.service.name", name, names.dns1123_label) if name else [required(f"{at}.service.name")]
    if port.get("name") and port.get("number"):
        causes.append(invalid(at, "", "cannot set both port name & port number"))
    elif port.get("name"):
        causes += named(f"{at}.service.port.name", port["name"], names.port_name)
    elif port.get("number"):
        number = port["number"]
        causes += [invalid(f"{at}.service.port.number", number, text) for text in names.port_number(number)]
    else:
        causes.append(required(at, "port name or number is required"))
    return causes
