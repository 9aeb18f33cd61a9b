"""What the cluster's names mean: Services and EndpointSlices as DNS records. Pure; no I/O.

The rules are Kubernetes' DNS specification (https://github.com/kubernetes/dns/blob/master/docs/specification.md), as
CoreDNS answers them. Names are lower case without the final dot.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from shim.api.meta import Object

A, NS, CNAME, PTR, TXT, SRV = 1, 2, 5, 12, 16, 33
REVERSE = ".in-addr.arpa"
VERSION = "1.1.0"  # of the specification, which asks for it under dns-version
DNS_SERVICE = ("kube-system", "kube-dns")
REMEMBERED = 200  # Services whose records are kept: most ask for few

Service = tuple[str, str]
"""Namespace and name."""


class Record(NamedTuple):
    """One resource record: ``value`` is an address, a name, or for SRV ``(port, target)``."""

    kind: int
    value: str | tuple[int, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question. ``exists`` False is NXDOMAIN; no records but ``exists`` is an empty answer."""

    exists: bool
    records: list[tuple[str, Record]] = field(default_factory=list)
    additional: list[tuple[str, Record]] = field(default_factory=list)


class Zone:
    """Every name below the cluster domain, and the reverse of every address.

    What is kept are the objects themselves, which others keep as well; records are made of those that are asked for.
    """

    def __init__(self, domain: str) -> None:
        self.domain = domain.lower().strip(".")
        self.version = 0
        """Grows with every change, so that encoded answers can be kept as long as nothing changed."""
        self._services: dict[Service, Object] = {}
        self._slices: dict[Service, dict[str, Object]] = {}
        self._owners: dict[str, tuple[Service, ...]] = {}  # address -> whose it is
        self._namespaces: Counter[str] = Counter()
        self._asked: dict[Service, dict[str, list[Record]]] = {}  # the records of those asked for lately, by name

    # -- what changed

    def set_service(self, obj: Object) -> None:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        with self._changing(key):
            if key not in self._services:
                self._namespaces[key[0]] += 1
            self._services[key] = obj

    def remove_service(self, namespace: str, name: str) -> None:
        with self._changing((namespace, name)):
            if self._services.pop((namespace, name), None) is not None:
                self._namespaces[namespace] -= 1

    def set_slice(self, obj: Object) -> None:
        key = _service_of(obj)
        if key is not None:
            with self._changing(key):
                self._slices.setdefault(key, {})[obj["metadata"]["name"]] = obj

    def remove_slice(self, obj: Object) -> None:
        key = _service_of(obj)
        if key is not None and obj["metadata"]["name"] in self._slices.get(key, {}):
            with self._changing(key):
                del self._slices[key][obj["metadata"]["name"]]
                if not self._slices[key]:
                    del self._slices[key]

    @contextmanager
    def _changing(self, key: Service) -> Iterator[None]:
        before = self._addresses(key)
        yield
        self.version += 1
        self._asked.pop(key, None)
        now = self._addresses(key)
        for address in before - now:
            left = tuple(each for each in self._owners.pop(address) if each != key)
            if left:
                self._owners[address] = left
        for address in now - before:
            self._owners[address] = (*self._owners.get(address, ()), key)

    def _addresses(self, key: Service) -> set[str]:
        """Those whose reverse is a name of this Service."""
        service = self._services.get(key)
        if service is None or service["spec"].get("type") == "ExternalName":
            return set()
        found = {address for _, address, _ in _ready(self._slices.get(key, {}).values())}
        own = service["spec"].get("clusterIP")
        return found if _is_headless(own) else found | {own}

    # -- what is asked

    def holds(self, name: str) -> bool:
        """Whether this zone is the one to answer for a name."""
        return name == self.domain or name.endswith("." + self.domain) or _address_in(name) in self._owners

    def find(self, name: str, kind: int) -> Found:
        """Answer for a name that this zone holds; an alias brings what it points to, if that is known here."""
        records = self._of_zone(name) or self._of_services(name)
        if not records:
            return Found(self._is_between(name))
        alias = next((record for record in records if record.kind == CNAME), None)
        if alias is not None and kind != CNAME:
            target = str(alias.value)
            beyond = self.find(target, kind) if self.holds(target) and target != name else Found(True)
            return Found(True, [(name, alias), *beyond.records])
        wanted = [(name, record) for record in records if record.kind == kind]
        extra = []
        if kind == SRV:
            targets = dict.fromkeys(record.value[1] for _, record in wanted if isinstance(record.value, tuple))
            extra = [found for target in targets for found in self.find(target, A).records]
        return Found(True, wanted, extra)

    def _of_zone(self, name: str) -> list[Record]:
        """Records that are of no Service: of the zone itself, and of pods by their addresses."""
        if name == self.domain:
            return [Record(NS, self.name_server)]
        if name == self.name_server and (service := self._services.get(DNS_SERVICE)) is not None:
            return [Record(A, service["spec"]["clusterIP"])]
        if name == f"dns-version.{self.domain}":
            return [Record(TXT, VERSION)]
        address = self._pod_address(name)
        return [Record(A, address)] if address else []

    @property
    def name_server(self) -> str:
        return f"ns.dns.{self.domain}"

    def _of_services(self, name: str) -> list[Record]:
        """Records of Services with this name: several only for the reverse of an address that several have."""
        owners = self._owners.get(_address_in(name), ()) if name.endswith(REVERSE) else self._owner(name)
        return list(dict.fromkeys(record for key in owners for record in self._records(key).get(name, ())))

    def _owner(self, name: str) -> tuple[Service, ...]:
        """The Service that a name below ``svc`` is of, when there is one."""
        inside = name.removesuffix(f".svc.{self.domain}")
        if inside == name:
            return ()
        *_, service, namespace = ("", *inside.split("."))
        return ((namespace, service),) if (namespace, service) in self._services else ()

    def _records(self, key: Service) -> dict[str, list[Record]]:
        found = self._asked.get(key)
        if found is None:
            found = {}
            for name, record in records_of(self._services[key], self._slices.get(key, {}).values(), self.domain):
                found.setdefault(name, []).append(record)
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            self._asked[key] = found
        return found

    def _is_between(self, name: str) -> bool:
        """Whether there are names below this one, of which nothing else is known: so it exists."""
        namespace = name.removesuffix(f".svc.{self.domain}")
        if name in (f"svc.{self.domain}", f"pod.{self.domain}", f"dns.{self.domain}"):
            return True
        if namespace != name and "." not in namespace:
            return self._namespaces[namespace] > 0
        return any(known.endswith("." + name) for key in self._owner(name) for known in self._records(key))

    def _pod_address(self, name: str) -> str | None:
        """``10-244-1-7.default.pod.cluster.local``: any address in a namespace that exists."""
        head, _, rest = name.partition(".")
        namespace, _, tail = rest.partition(".")
        if tail != f"pod.{self.domain}" or not self._namespaces[namespace]:
            return None
        try:
            return str(ipaddress.IPv4Address(head.replace("-", ".")))
        except ValueError:
            return None


def records_of(service: Object, slices: Iterable[Object], domain: str) -> Iterator[tuple[str, Record]]:
    """All records of one Service, with their names."""
    spec, metadata = service["spec"], service["metadata"]
    base = f"{metadata['name']}.{metadata['namespace']}.svc.{domain}"
    if spec.get("type") == "ExternalName":
        yield base, Record(CNAME, str(spec["externalName"]).lower().strip("."))
        return
    address = spec.get("clusterIP")
    headless = _is_headless(address)
    if not headless:
        yield base, Record(A, address)
        yield reverse(address), Record(PTR, base)
        for port in spec.get("ports") or ():
            yield from _service_records(port, base, base)
    for piece, address, hostname in _ready(slices):
        name = f"{hostname or address.replace('.', '-')}.{base}"
        yield name, Record(A, address)
        yield reverse(address), Record(PTR, name)
        if headless:
            yield base, Record(A, address)
            for port in piece.get("ports") or ():
                if port.get("port"):
                    yield from _service_records(port, base, name)


def _service_records(port: Object, base: str, target: str) -> Iterator[tuple[str, Record]]:
    """A port by its name, and with all others by the Service's."""
    record = Record(SRV, (port["port"], target))
    yield base, record
    if port.get("name"):
        yield f"_{port['name']}._{port.get('protocol', 'TCP').lower()}.{base}", record


def _ready(slices: Iterable[Object]) -> Iterator[tuple[Object, str, str]]:
    """(slice, address, hostname) of every endpoint that is asked for."""
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                yield piece, address, endpoint.get("hostname") or ""


def _is_headless(cluster_ip: str | None) -> bool:
    return not cluster_ip or cluster_ip == "None"


def reverse(address: str) -> str:
    """``10.96.0.1`` -> ``1.0.96.10.in-addr.arpa``."""
    if ":" in address:
        return ipaddress.ip_address(address).reverse_pointer
    return ".".join(reversed(address.split("."))) + REVERSE


def _address_in(name: str) -> str:
    """``1.0.96.10.in-addr.arpa`` -> ``10.96.0.1``; empty for names of another kind."""
    inside = name.removesuffix(REVERSE)
    return "" if inside == name else ".".join(reversed(inside.split(".")))


def _service_of(piece: Object) -> Service | None:
    name = (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
    return (piece["metadata"]["namespace"], name) if name else None
