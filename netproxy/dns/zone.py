"""What does a name in the cluster's domain stand for? Follows the Kubernetes DNS specification, version 1.1.

SERVICE.NS.svc.DOMAIN                  A: the cluster IP, or each endpoint of a headless Service; CNAME: ExternalName
HOST.SERVICE.NS.svc.DOMAIN             A: the endpoint with this hostname, or with this address, dots as dashes
_PORT._PROTOCOL.SERVICE.NS.svc.DOMAIN  SRV
A-B-C-D.NS.pod.DOMAIN                  A: A.B.C.D
D.C.B.A.in-addr.arpa                   PTR: the Service or endpoint with this address
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from dnslib import CLASS, CNAME, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, A

from netproxy.dns.directory import Directory
from netproxy.services.model import SERVICE_NAME
from shim.api.meta import Object

TTL = 30  # seconds an answer may be kept: a Service's address hardly ever changes


@dataclass(slots=True)
class Answer:
    """The records for one question."""

    records: list[Any] = field(default_factory=list)
    extra: list[Any] = field(default_factory=list)  # addresses of what the records name
    exists: bool = True  # False: there is no such name
    follow: str = ""  # an alias whose target is outside the cluster

    @property
    def found(self) -> bool:
        return bool(self.records)


class Zone:
    """The names of one cluster."""

    def __init__(self, directory: Directory, domain: str, server: str) -> None:
        self._directory, self._server = directory, server
        self.domain = domain.strip(".").lower()
        self._labels = self.domain.split(".")

    def lookup(self, name: str, kind: int) -> Answer | None:
        """The answer for a name, in lower case without the last dot; None for names that others know."""
        labels = name.split(".")
        if labels[-2:] == ["in-addr", "arpa"]:
            return self._reverse(name, labels[:-2], kind)
        if labels[-len(self._labels) :] != self._labels:
            return None
        inner = labels[: -len(self._labels)]
        if not inner:
            return self._apex(name, kind)
        if inner[-1] == "svc":
            return self._service_tree(name, inner[:-1], kind)
        if inner[-1] == "pod":
            return self._pod(name, inner[:-1], kind)
        if inner == ["ns", "dns"]:
            return Answer(_addresses(name, [self._server], kind))
        return Answer(exists=inner == ["dns"])

    def authority(self) -> Any:
        """The record that goes with an answer without records: how long to believe it."""
        times = (1, 7200, 1800, 86400, TTL)
        return _record(self.domain, "SOA", SOA(f"ns.dns.{self.domain}", f"hostmaster.{self.domain}", times))

    def _apex(self, name: str, kind: int) -> Answer:
        if kind == QTYPE.SOA:
            return Answer([self.authority()])
        if kind == QTYPE.NS:
            server = f"ns.dns.{self.domain}"
            return Answer([_record(name, "NS", NS(server))], _addresses(server, [self._server], QTYPE.A))
        return Answer()

    def _pod(self, name: str, labels: list[str], kind: int) -> Answer:
        if len(labels) < 2:
            return Answer()
        try:
            address = str(IPv4Address(labels[0].replace("-", ".")))
        except AddressValueError:
            return Answer(exists=False)
        return Answer(_addresses(name, [address], kind)) if len(labels) == 2 else Answer(exists=False)

    def _service_tree(self, name: str, labels: list[str], kind: int) -> Answer:
        if not labels:
            return Answer()
        namespace = labels[-1]
        if len(labels) == 1:
            return Answer(exists=self._directory.has_namespace(namespace))
        service = self._directory.service(namespace, labels[-2])
        if service is None:
            return Answer(exists=False)
        rest = labels[:-2]
        if service["spec"].get("type") == "ExternalName":
            return self._alias(name, service, kind) if not rest else Answer(exists=False)
        if not rest:
            return self._service(name, service, kind)
        if rest[-1] in ("_tcp", "_udp", "_sctp") and len(rest) <= 2:
            return self._ports(name, service, rest, kind)
        if len(rest) == 1:
            return self._host(name, service, rest[0], kind)
        return Answer(exists=False)

    def _service(self, name: str, service: Object, kind: int) -> Answer:
        if kind == QTYPE.SRV:
            return self._ports(name, service, [], kind)
        if not _is_headless(service):
            return Answer(_addresses(name, [service["spec"]["clusterIP"]], kind))
        addresses = [endpoint["addresses"][0] for endpoint, _ in self._endpoints(service)]
        return Answer(_addresses(name, list(dict.fromkeys(addresses)), kind), exists=bool(addresses))

    def _host(self, name: str, service: Object, host: str, kind: int) -> Answer:
        found = [endpoint["addresses"][0] for endpoint, _ in self._endpoints(service) if _host_of(endpoint) == host]
        return Answer(_addresses(name, list(dict.fromkeys(found)), kind), exists=bool(found))

    def _ports(self, name: str, service: Object, wanted: list[str], kind: int) -> Answer:
        own = _name_of(service, self.domain)
        answer = Answer()
        if not _is_headless(service):
            for port in service["spec"].get("ports") or ():
                if _is_port(port, wanted):
                    answer.records.append(_record(name, "SRV", SRV(0, 100, port["port"], own)))
            answer.extra = _addresses(own, [service["spec"]["clusterIP"]], QTYPE.A)
        else:
            for endpoint, ports in self._endpoints(service):
                host, matching = f"{_host_of(endpoint)}.{own}", [port for port in ports if _is_port(port, wanted)]
                answer.records += [_record(name, "SRV", SRV(0, 100, port["port"], host)) for port in matching]
                if matching:
                    answer.extra += _addresses(host, [endpoint["addresses"][0]], QTYPE.A)
        answer.exists = bool(answer.records) or not wanted
        if kind != QTYPE.SRV or not answer.records:
            return Answer(exists=answer.exists)
        return answer

    def _alias(self, name: str, service: Object, kind: int) -> Answer:
        target = str(service["spec"].get("externalName") or "").rstrip(".").lower()
        records = [_record(name, "CNAME", CNAME(target))]
        if kind == QTYPE.CNAME:
            return Answer(records)
        if target == name:
            return Answer(records)
        inside = self.lookup(target, kind) if target.endswith(f".{self.domain}") else None
        if inside is None:
            return Answer(records, follow=target)
        return Answer(records + inside.records, follow=inside.follow)

    def _reverse(self, name: str, labels: list[str], kind: int) -> Answer | None:
        """Addresses of the cluster; others are for the servers outside to know."""
        address = ".".join(reversed(labels))
        names = [_name_of(service, self.domain) for service in self._directory.services_at(address)]
        if not names:
            for piece in self._directory.slices_at(address):
                owner = f"{piece['metadata']['labels'][SERVICE_NAME]}.{piece['metadata']['namespace']}"
                names += [
                    f"{_host_of(endpoint)}.{owner}.svc.{self.domain}"
                    for endpoint in piece["endpoints"]
                    if address in endpoint["addresses"]
                ]
        if not names:
            return None
        wanted = dict.fromkeys(names) if kind == QTYPE.PTR else ()
        return Answer([_record(name, "PTR", PTR(target)) for target in wanted])

    def _endpoints(self, service: Object) -> Iterator[tuple[Object, Sequence[Object]]]:
        """Ready endpoints with their ports. Of a Service that publishes unready ones, those say they are ready."""
        metadata = service["metadata"]
        for piece in self._directory.slices(metadata["namespace"], metadata["name"]):
            for endpoint in piece.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    yield endpoint, piece.get("ports") or ()


def code_of(answer: Answer) -> int:
    """The response code; NXDOMAIN only where there is nothing below the name either."""
    return int(RCODE.NOERROR if answer.exists else RCODE.NXDOMAIN)


def _record(name: str, kind: str, data: Any) -> Any:
    return RR(name, getattr(QTYPE, kind), CLASS.IN, TTL, data)


def _addresses(name: str, addresses: Sequence[str], kind: int) -> list[Any]:
    return [_record(name, "A", A(address)) for address in addresses] if kind == QTYPE.A else []


def _is_headless(service: Object) -> bool:
    return (service["spec"].get("clusterIP") or "None") == "None"


def _is_port(port: Object, wanted: list[str]) -> bool:
    protocol = "_" + (port.get("protocol") or "TCP").lower()
    if len(wanted) == 2:
        return wanted == ["_" + (port.get("name") or ""), protocol] and port.get("port") is not None
    return port.get("port") is not None and wanted in ([], [protocol])


def _host_of(endpoint: Object) -> str:
    return str(endpoint.get("hostname") or endpoint["addresses"][0].replace(".", "-"))


def _name_of(service: Object, domain: str) -> str:
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.{domain}"
