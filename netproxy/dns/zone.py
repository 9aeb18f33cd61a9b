"""What the cluster's names mean: Services and EndpointSlices as DNS records. Pure; no I/O.

The rules are Kubernetes' DNS specification (https://github.com/kubernetes/dns/blob/master/docs/specification.md), as
CoreDNS answers them. Names are lower case without the final dot.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from shim.api.meta import Object

A, CNAME, PTR, SRV = 1, 5, 12, 33

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
    """Every name below the cluster domain, and the reverse of every address."""

    def __init__(self, domain: str) -> None:
        self.domain = domain.lower().strip(".")
        self.version = 0
        """Grows with every change, so that encoded answers can be kept as long as nothing changed."""
        self._services: dict[Service, Object] = {}
        self._slices: dict[Service, dict[str, Object]] = {}
        self._names: dict[str, dict[Service, list[Record]]] = {}
        self._owned: dict[Service, set[str]] = {}
        self._parents: Counter[str] = Counter({f"svc.{self.domain}": 1, f"pod.{self.domain}": 1, self.domain: 1})
        self._namespaces: Counter[str] = Counter()

    # -- what changed

    def set_service(self, obj: Object) -> None:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        if key not in self._services:
            self._namespaces[key[0]] += 1
        self._services[key] = obj
        self._rebuild(key)

    def remove_service(self, namespace: str, name: str) -> None:
        if self._services.pop((namespace, name), None) is not None:
            self._namespaces[namespace] -= 1
        self._rebuild((namespace, name))

    def set_slice(self, obj: Object) -> None:
        key = _service_of(obj)
        if key is not None:
            self._slices.setdefault(key, {})[obj["metadata"]["name"]] = obj
            self._rebuild(key)

    def remove_slice(self, obj: Object) -> None:
        key = _service_of(obj)
        if key is not None and self._slices.get(key, {}).pop(obj["metadata"]["name"], None) is not None:
            if not self._slices[key]:
                del self._slices[key]
            self._rebuild(key)

    def _rebuild(self, key: Service) -> None:
        self.version += 1
        for name in self._owned.pop(key, ()):
            kept = self._names[name]
            del kept[key]
            if not kept:
                del self._names[name]
            for parent in self._above(name):
                self._parents[parent] -= 1
        service = self._services.get(key)
        if service is None:
            return
        owned = self._owned.setdefault(key, set())
        for name, record in records_of(service, self._slices.get(key, {}).values(), self.domain):
            if name not in owned:
                owned.add(name)
                for parent in self._above(name):
                    self._parents[parent] += 1
            self._names.setdefault(name, {}).setdefault(key, []).append(record)

    def _above(self, name: str) -> Iterator[str]:
        """The names between a name and the domain: they exist, though nothing is known of them."""
        while name != self.domain and (name := name.partition(".")[2]).endswith(self.domain):
            yield name

    # -- what is asked

    def holds(self, name: str) -> bool:
        """Whether this zone is the one to answer for a name."""
        return name == self.domain or name.endswith("." + self.domain) or name in self._names

    def find(self, name: str, kind: int) -> Found:
        """Answer for a name that this zone holds; an alias brings what it points to, if that is known here."""
        known = self._names.get(name)
        if known is None:
            if address := self._pod_address(name):
                return Found(True, [(name, Record(A, address))] if kind == A else [])
            return Found(self._parents[name] > 0)
        records = list(dict.fromkeys(record for each in known.values() for record in each))
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
    headless = not address or address == "None"
    if not headless:
        yield base, Record(A, address)
        yield reverse(address), Record(PTR, base)
        for port in spec.get("ports") or ():
            if port.get("name"):
                protocol = port.get("protocol", "TCP").lower()
                yield f"_{port['name']}._{protocol}.{base}", Record(SRV, (port["port"], base))
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                name = f"{endpoint.get('hostname') or address.replace('.', '-')}.{base}"
                yield name, Record(A, address)
                yield reverse(address), Record(PTR, name)
                if headless:
                    yield base, Record(A, address)
                    for port in piece.get("ports") or ():
                        if port.get("name") and port.get("port"):
                            protocol = port.get("protocol", "TCP").lower()
                            yield f"_{port['name']}._{protocol}.{base}", Record(SRV, (port["port"], name))


def reverse(address: str) -> str:
    """``10.96.0.1`` -> ``1.0.96.10.in-addr.arpa``."""
    if ":" in address:
        return ipaddress.ip_address(address).reverse_pointer
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


def _service_of(piece: Object) -> Service | None:
    name = (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
    return (piece["metadata"]["namespace"], name) if name else None
