"""What parts of the server have counted, as families of /metrics: allocators, tokens, documents, the audit log."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from shim.api.timing import Histograms
from shim.codec.exposition import Labels, counters, gauges, histograms
from shim.server.allocation_repair import AllocationRepair
from shim.server.audit.policy import NAMES
from shim.server.audit.record import Auditor
from shim.server.authn import Authenticator
from shim.server.authz import Authorizer
from shim.server.custom import CustomResources
from shim.server.discovery import Discovery
from shim.server.service_allocator import ServiceAllocator
from shim.server.tokens import Tokens

_IPS, _PORTS = "kube_apiserver_clusterip_allocator", "kube_apiserver_nodeport_allocator"
_TOKENS = {
    "valid": "Tokens of service accounts that were good.",
    "stale": "Tokens of service accounts that should have been replaced, and were good.",
    "legacy_auto": "Tokens from Secrets that were made for accounts.",
    "legacy_manual": "Tokens from Secrets that somebody made.",
    "invalid_legacy_auto": "Tokens from Secrets that are marked as invalid.",
}


def of_services(services: ServiceAllocator) -> Iterator[Metric]:
    """Cluster IPs and node ports: how many are taken and free, and how they were given."""
    addresses, ports = services.addresses, services.ports
    taken = [int(ipaddress.IPv4Address(name)) for name in addresses.taken()]
    used: dict[Labels, float] = {}
    free: dict[Labels, float] = {}
    for each in addresses.ranges():
        label = (str(each.network),)
        used[label] = sum(number in each.span for number in taken)
        free[label] = len(each.span) - used[label]
    yield gauges(f"{_IPS}_allocated_ips", "Cluster IPs that Services have.", ("cidr",), used)
    yield gauges(f"{_IPS}_available_ips", "Cluster IPs that are to be had.", ("cidr",), free)
    scoped = ("cidr", "scope")
    yield counters(f"{_IPS}_allocation", "Cluster IPs that were given.", scoped, addresses.given)
    yield counters(f"{_IPS}_allocation_errors", "Cluster IPs that could not be given.", scoped, addresses.refused)
    help = "Time it took to find a cluster IP."
    yield histograms(f"{_IPS}_allocation_duration_seconds", help, ("cidr",), addresses.took)
    number = sum(1 for _ in ports.taken())
    yield gauges(f"{_PORTS}_allocated_ports", "Node ports that Services have.", (), {(): number})
    yield gauges(f"{_PORTS}_available_ports", "Node ports that are to be had.", (), {(): len(ports.span) - number})
    yield counters(f"{_PORTS}_allocation", "Node ports that were given.", ("scope",), ports.given)
    yield counters(f"{_PORTS}_allocation_errors", "Node ports that could not be given.", ("scope",), ports.refused)


def of_tokens(tokens: Tokens) -> Iterator[Metric]:
    """How often tokens of service accounts were used, by how good they are."""
    for kind, help in _TOKENS.items():
        what = f"{kind}_token_uses" if "legacy" in kind else f"{kind}_tokens"
        yield counters(f"serviceaccount_{what}", help, (), {(): tokens.uses[kind]})
    old = tokens.uses["legacy_auto"] + tokens.uses["legacy_manual"]
    yield counters("serviceaccount_legacy_tokens", "Tokens from Secrets.", (), {(): old})


def of_token_cache(tokens: Tokens) -> Iterator[Metric]:
    """Tokens that were known already, and how long it took to verify the others."""
    asked: dict[Labels, float] = {(status,): number for status, number in tokens.cached.items()}
    status = ("status",)
    yield counters("authentication_token_cache_request", "Tokens that were looked up.", status, asked)
    verified: dict[Labels, float] = {labels: found.count for labels, found in tokens.verified.items()}
    yield counters("authentication_token_cache_fetch", "Tokens that were verified.", status, verified)
    took = Histograms(tokens.verified.bounds)
    for found in tokens.verified.values():
        took[("miss",)].take(found)
    help = "Time it took to verify a token that was not known."
    yield histograms("authentication_token_cache_request_duration_seconds", help, status, took)


def of_identities(authenticator: Authenticator, authorizer: Authorizer) -> Iterator[Metric]:
    """How long clients' certificates are still good, and which authorizer let requests pass."""
    help = "Time until the certificate of a client expires, noted once for each connection."
    name = "apiserver_client_certificate_expiration_seconds"
    yield histograms(name, help, (), {(): authenticator.expirations})
    allowed: dict[Labels, float] = {
        (type, type.lower(), "allowed"): number for type, number in authorizer.allowed.items()
    }
    help = "Requests that an authorizer has allowed; none of them forbids what another one allows."
    yield counters("apiserver_authorization_decisions", help, ("type", "name", "decision"), allowed)


def of_documents(discovery: Discovery, custom: CustomResources) -> Iterator[Metric]:
    """How often what is told of the API had to be told anew."""
    help = "Times the documents of discovery were put together."
    yield counters("aggregator_discovery_aggregation_count", help, (), {(): discovery.built})
    second: Counter[Labels] = Counter()
    for (crd, _, _, reason), number in custom.told_anew.items():
        second[crd, reason] = max(second[crd, reason], number)
    help = "Changes of definitions after which OpenAPI is told anew."
    yield counters("apiextensions_openapi_v2_regeneration_count", help, ("crd", "reason"), second)
    labels = ("crd", "group", "version", "reason")
    yield counters("apiextensions_openapi_v3_regeneration_count", help, labels, custom.told_anew)


def of_repair(repair: AllocationRepair) -> Iterator[Metric]:
    """How often the comparison of Services with what is theirs failed."""
    help = "Failed comparisons of Services with the node ports that are recorded as theirs."
    yield counters("apiserver_nodeport_repair_reconcile_errors", help, (), {(): repair.failures})


def of_audit(auditor: Auditor | None) -> Iterator[Metric]:
    """Events told, and requests by how much of them is told."""
    told = auditor.told if auditor is not None else 0
    yield counters("apiserver_audit_event", "Events that were written to the audit log.", (), {(): told})
    levels = auditor.levels if auditor is not None else {}
    named: dict[Labels, float] = {(NAMES[level],): number for level, number in levels.items()}
    yield counters("apiserver_audit_level", "Requests by the level of the audit policy.", ("level",), named)
    help = "Requests that were refused because the audit log failed: none ever is."
    yield counters("apiserver_audit_requests_rejected", help, (), {(): 0})
