"""What has changed? Follows Services, EndpointSlices and this node, and keeps the compiled rules of Service ports."""

from __future__ import annotations

import asyncio

from netproxy.health.service_checks import LocalEndpoints
from netproxy.rules.family import Ruleset
from netproxy.services.compiler import Place, PortRules, assemble, compile_port
from netproxy.services.model import SERVICE_NAME, Endpoint, ServicePort, endpoints_of, service_ports
from shim.api.meta import Object, key_of
from shim.client import Informer

BY_SERVICE = "service"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"  # annotation of an EndpointSlice
ZONE = "topology.kubernetes.io/zone"  # label of a Node


def service_of(piece: Object) -> list[str]:
    """Indexer: the key of the Service an EndpointSlice belongs to."""
    metadata = piece["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME)
    return [f"{metadata['namespace']}/{name}"] if name else []


class Tracker:
    """Compiled rules, brought up to date only for Services that changed."""

    def __init__(self, services: Informer, slices: Informer, nodes: Informer, node: str, place: Place) -> None:
        self._services, self._slices, self._node, self._place = services, slices, node, place
        self._zone = ""
        self.health_checks: dict[int, LocalEndpoints] = {}
        """As of the last :meth:`compile`: port -> what is to be answered there."""
        self._dirty: set[str] = set()
        self._changed = asyncio.Event()
        self._triggers: list[str] = []
        self._rules: dict[str, list[PortRules]] = {}
        self._ports: dict[str, Ports] = {}
        slices.add_indexer(BY_SERVICE, service_of)
        services.on_change(self._on_service)
        slices.on_change(self._on_slice)
        nodes.on_change(self._on_node)

    async def changed(self) -> None:
        """Wait until there is something to compile."""
        await self._changed.wait()

    def touch(self) -> None:
        """Make :meth:`changed` return although nothing did: a failed attempt is to be repeated."""
        self._changed.set()

    def triggers(self) -> list[str]:
        """When that happened which the next :meth:`compile` answers to, as far as slices say it. Tells each once."""
        found, self._triggers = self._triggers, []
        return found

    def compile(self) -> tuple[Ruleset, list[Change]]:
        """The rules as of now, and which ports differ from the last time."""
        self._changed.clear()
        changes: list[Change] = []
        for key in self._dirty:
            before = self._ports.pop(key, [])
            now = self._read(key)
            if now:
                self._ports[key] = now
                self._rules[key] = [compile_port(port, endpoints, self._place) for port, endpoints in now]
            else:
                self._rules.pop(key, None)
            changes.append((before, now))
            self._follow_health_check(key, before, now)
        self._dirty.clear()
        return assemble(rules for key in sorted(self._rules) for rules in self._rules[key]), changes

    def _read(self, key: str) -> Ports:
        service = self._services.get(key)
        if service is None:
            return []
        slices = self._slices.by(BY_SERVICE, key)
        return [(port, endpoints_of(port, slices, self._node, self._zone)) for port in service_ports(service)]

    def _follow_health_check(self, key: str, before: Ports, now: Ports) -> None:
        for port, _ in before:
            self.health_checks.pop(port.health_check_node_port, None)
        ready = {each.address for _, endpoints in now for each in endpoints if each.local and each.ready}
        namespace, _, name = key.partition("/")
        for port, _ in now:
            if port.health_check_node_port:
                self.health_checks[port.health_check_node_port] = LocalEndpoints(namespace, name, len(ready))

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        self._mark([key_of(obj) for obj in (old, new) if obj])

    def _on_slice(self, old: Object | None, new: Object | None) -> None:
        self._mark([key for piece in (old, new) if piece for key in service_of(piece)])
        trigger, former = ((piece or {}).get("metadata", {}).get("annotations") or {} for piece in (new, old))
        if TRIGGER_TIME in trigger and trigger[TRIGGER_TIME] != former.get(TRIGGER_TIME):
            self._triggers.append(trigger[TRIGGER_TIME])

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if new is None or new["metadata"]["name"] != self._node:
            return
        zone = (new["metadata"].get("labels") or {}).get(ZONE, "")
        if zone != self._zone:
            self._zone = zone
            self._mark(list(self._services.keys()))

    def _mark(self, keys: list[str]) -> None:
        self._dirty.update(keys)
        if keys:
            self._changed.set()


Ports = list[tuple[ServicePort, tuple[Endpoint, ...]]]
"""The ports of one Service with their endpoints."""
Change = tuple[Ports, Ports]
"""Before and now."""
