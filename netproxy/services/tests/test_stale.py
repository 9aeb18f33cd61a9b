"""Which flows are forgotten when endpoints come and go."""

from __future__ import annotations

from typing import Any

from netproxy.services.model import endpoints_of, service_ports
from netproxy.services.stale import Flows, stale_flows
from netproxy.services.tests.builders import NODE, endpoint, service, slice_of


def ports(*addresses: str, protocol: str = "UDP") -> list[Any]:
    made = service("dns", "10.96.1.1", {"port": 53, "protocol": protocol, "nodePort": 30053}, type="NodePort")
    pieces = slice_of("dns", *map(endpoint, addresses), ports=({"name": "", "port": 53, "protocol": protocol},))
    return [(port, endpoints_of(port, [pieces], NODE)) for port in service_ports(made)]


def test_flows_to_an_endpoint_that_is_gone() -> None:
    assert stale_flows([(ports("10.244.1.5", "10.244.1.6"), ports("10.244.1.6"))]) == {
        Flows("10.96.1.1", 53, "10.244.1.5"),
        Flows("", 30053, "10.244.1.5"),
    }


def test_flows_of_a_service_that_is_gone() -> None:
    assert Flows("10.96.1.1", 53, "10.244.1.5") in stale_flows([(ports("10.244.1.5"), [])])


def test_flows_that_were_sent_nowhere() -> None:
    assert stale_flows([([], ports("10.244.1.5"))]) == {Flows("10.96.1.1", 53, "10.96.1.1")}
    assert Flows("", 30053) in stale_flows([(ports(), ports("10.244.1.5"))])


def test_tcp_clients_notice_by_themselves() -> None:
    assert stale_flows([(ports("10.244.1.5", protocol="TCP"), [])]) == set()
    assert stale_flows([(ports("10.244.1.5"), ports("10.244.1.5"))]) == set()
