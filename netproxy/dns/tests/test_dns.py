"""Cluster names as Kubernetes' DNS specification has them: as values, then asked over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from dnslib import EDNS0, QTYPE, RR, DNSRecord
from dnslib import A as A_RDATA

from netproxy.dns.answers import Answers
from netproxy.dns.forward import Forwarder
from netproxy.dns.server import serve
from netproxy.dns.zone import CNAME, PTR, SRV, A, Record, Zone


def service(name: str, **spec: object) -> dict:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"ports": ports, **spec}}


def endpoints(name: str, *addresses: tuple[str, str | None, bool]) -> dict:
    return {
        "metadata": {"namespace": "shop", "name": f"{name}-abc", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": host} if host else {})}
            for address, host, ready in addresses
        ],
    }


@pytest.fixture
def zone() -> Zone:
    made = Zone("cluster.local")
    made.set_service(service("web", clusterIP="10.96.3.4"))
    made.set_service(service("db", clusterIP="None"))
    made.set_slice(
        endpoints("db", ("10.244.1.7", "db-0", True), ("10.244.2.7", None, True), ("10.244.3.7", "db-2", False))
    )
    made.set_service(service("outside", type="ExternalName", externalName="example.com"))
    return made


def values(zone: Zone, name: str, kind: int) -> list:
    return [record.value for _, record in zone.find(name, kind).records]


def test_a_service_has_its_address_and_ports(zone: Zone) -> None:
    assert values(zone, "web.shop.svc.cluster.local", A) == ["10.96.3.4"]
    assert values(zone, "_http._tcp.web.shop.svc.cluster.local", SRV) == [(80, "web.shop.svc.cluster.local")]
    assert values(zone, "4.3.96.10.in-addr.arpa", PTR) == ["web.shop.svc.cluster.local"]


def test_a_headless_service_has_its_ready_pods(zone: Zone) -> None:
    assert values(zone, "db.shop.svc.cluster.local", A) == ["10.244.1.7", "10.244.2.7"]
    assert values(zone, "db-0.db.shop.svc.cluster.local", A) == ["10.244.1.7"]
    assert values(zone, "10-244-2-7.db.shop.svc.cluster.local", A) == ["10.244.2.7"]
    assert not zone.find("db-2.db.shop.svc.cluster.local", A).exists
    found = zone.find("_http._tcp.db.shop.svc.cluster.local", SRV)
    assert (8080, "db-0.db.shop.svc.cluster.local") in [record.value for _, record in found.records]
    assert ("db-0.db.shop.svc.cluster.local", Record(A, "10.244.1.7")) in found.additional


def test_all_ports_of_a_service_are_found_without_naming_one(zone: Zone) -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    zone.set_service(service("both", clusterIP="10.96.3.5") | {"spec": {"clusterIP": "10.96.3.5", "ports": ports}})
    base = "both.shop.svc.cluster.local"
    assert values(zone, base, SRV) == [(80, base), (53, base)]
    assert values(zone, f"_dns._udp.{base}", SRV) == [(53, base)]
    assert not zone.find(f"_dns._tcp.{base}", SRV).exists
    assert zone.find(f"_udp.{base}", A).exists  # there are names below it


def test_the_reverse_of_an_address_is_every_name_it_has(zone: Zone) -> None:
    zone.set_service(service("other", clusterIP="None"))
    zone.set_slice(endpoints("other", ("10.244.1.7", None, True)))
    names = ["db-0.db.shop.svc.cluster.local", "10-244-1-7.other.shop.svc.cluster.local"]
    assert values(zone, "7.1.244.10.in-addr.arpa", PTR) == names
    zone.remove_service("shop", "db")
    assert values(zone, "7.1.244.10.in-addr.arpa", PTR) == names[1:]
    zone.remove_slice(endpoints("other"))
    assert not zone.holds("7.1.244.10.in-addr.arpa")
    assert not zone.holds("4.3.96.11.in-addr.arpa")  # of somebody else, who may be asked


def test_the_zone_tells_of_itself(zone: Zone) -> None:
    kube_dns = service("kube-dns", clusterIP="10.96.0.10")
    kube_dns["metadata"]["namespace"] = "kube-system"
    zone.set_service(kube_dns)
    answers = Answers(zone)

    def ask(name: str, kind: str) -> list[str]:
        return [
            str(each.rdata) for each in DNSRecord.parse(answers.to(bytes(DNSRecord.question(name, kind).pack()))).rr
        ]

    assert ask("cluster.local", "NS") == ["ns.dns.cluster.local."]
    assert ask("ns.dns.cluster.local", "A") == ["10.96.0.10"]
    assert ask("dns-version.cluster.local", "TXT") == ['"1.1.0"']
    assert ask("cluster.local", "SOA")[0].startswith("ns.dns.cluster.local. hostmaster.cluster.local.")


def test_a_name_without_records_of_a_kind_exists_all_the_same(zone: Zone) -> None:
    """Whoever asks for IPv6 first must not be told that there is no such name."""
    answer = DNSRecord.parse(Answers(zone).to(bytes(DNSRecord.question("web.shop.svc.cluster.local", "AAAA").pack())))
    assert (answer.header.rcode, answer.rr) == (0, [])
    assert answer.auth[0].rtype == QTYPE.SOA


def test_a_client_that_takes_more_gets_more(zone: Zone) -> None:
    """By EDNS (RFC 6891), and it is told what we take."""
    zone.set_slice(endpoints("db", *((f"10.244.1.{number}", None, True) for number in range(1, 41))))
    plain = DNSRecord.question("db.shop.svc.cluster.local")
    more = DNSRecord.question("db.shop.svc.cluster.local")
    more.add_ar(EDNS0(udp_len=4096))
    assert DNSRecord.parse(Answers(zone).to(bytes(plain.pack()))).header.tc
    answer = DNSRecord.parse(Answers(zone).to(bytes(more.pack())))
    assert (answer.header.tc, len(answer.rr)) == (0, 40)
    assert [each.rclass for each in answer.ar if each.rtype == QTYPE.OPT] == [1232]


def test_an_external_name_is_an_alias(zone: Zone) -> None:
    assert zone.find("outside.shop.svc.cluster.local", A).records == [
        ("outside.shop.svc.cluster.local", Record(CNAME, "example.com"))
    ]


def test_names_between_exist_and_others_do_not(zone: Zone) -> None:
    assert zone.find("shop.svc.cluster.local", A).exists
    assert zone.find("svc.cluster.local", A).exists
    assert not zone.find("nothing.shop.svc.cluster.local", A).exists
    assert not zone.find("other.svc.cluster.local", A).exists
    assert values(zone, "10-244-1-9.shop.pod.cluster.local", A) == ["10.244.1.9"]
    assert not zone.holds("example.com")


def test_what_is_removed_is_no_longer_known(zone: Zone) -> None:
    zone.remove_slice(endpoints("db"))
    assert values(zone, "db.shop.svc.cluster.local", A) == []
    zone.remove_service("shop", "db")
    assert not zone.find("db.shop.svc.cluster.local", A).exists
    zone.remove_service("shop", "web")
    zone.remove_service("shop", "outside")
    assert not zone.find("shop.svc.cluster.local", A).exists


def test_answers_carry_the_soa_and_are_kept_until_a_change(zone: Zone) -> None:
    answers = Answers(zone)
    question = DNSRecord.question("nothing.shop.svc.cluster.local")
    missing = DNSRecord.parse(answers.to(bytes(question.pack())))
    assert missing.header.rcode == 3
    assert missing.auth[0].rtype == QTYPE.SOA
    zone.set_service(service("nothing", clusterIP="10.96.9.9"))
    assert str(DNSRecord.parse(answers.to(bytes(question.pack()))).rr[0].rdata) == "10.96.9.9"
    assert answers.to(bytes(DNSRecord.question("example.com").pack())) is None
    assert answers.to(b"\0\1") == b""


def test_a_long_answer_is_cut_for_udp_and_whole_for_tcp(zone: Zone) -> None:
    zone.set_slice(endpoints("db", *((f"10.244.1.{number}", None, True) for number in range(1, 101))))
    answers, question = Answers(zone), bytes(DNSRecord.question("db.shop.svc.cluster.local").pack())
    assert DNSRecord.parse(answers.to(question)).header.tc
    assert len(DNSRecord.parse(answers.to(question, udp=False)).rr) == 100


def free_port() -> int:
    """A port that is free for UDP and for TCP: the kernel gives one for UDP, which TCP may have in use."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as streams:
            datagrams.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                streams.bind(datagrams.getsockname())
                return datagrams.getsockname()[1]


async def test_it_answers_over_udp_and_tcp_and_fails_what_nobody_knows(zone: Zone) -> None:
    port, listening = free_port(), asyncio.Event()

    async def ask(question: DNSRecord, tcp: bool = False) -> DNSRecord:
        return DNSRecord.parse(await asyncio.to_thread(question.send, "127.0.0.1", port, tcp=tcp, timeout=30))

    async with asyncio.TaskGroup() as tasks:  # a server that cannot listen ends the test instead of hanging it
        serving = tasks.create_task(serve("127.0.0.1", Answers(zone), Forwarder([]), port, listening))
        await listening.wait()
        for tcp in (False, True):
            known = await ask(DNSRecord.question("web.shop.svc.cluster.local"), tcp)
            assert str(known.rr[0].rdata) == "10.96.3.4"
        assert (await ask(DNSRecord.question("example.com"))).header.rcode == 2
        serving.cancel()


class Upstream(asyncio.DatagramProtocol):
    """A name server for the rest of the world, which counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = DNSRecord.parse(data)
        self.asked.append(str(question.q.qname))
        reply = question.reply()
        reply.add_answer(RR(question.q.qname, QTYPE.A, rdata=A_RDATA("192.0.2.1"), ttl=60))
        self._transport.sendto(reply.pack(), addr)


async def test_names_outside_are_asked_for_once_and_an_alias_brings_what_it_leads_to(zone: Zone) -> None:
    loop = asyncio.get_running_loop()
    transport, upstream = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    forwarder, answers = Forwarder([f"127.0.0.1:{port}"]), Answers(zone)

    async def ask(name: str) -> DNSRecord:
        question = bytes(DNSRecord.question(name).pack())
        assert answers.to(question) is None, "it is a matter for others"
        answer = DNSRecord.parse(await forwarder.complete(question, answers))
        assert answer.header.id == DNSRecord.parse(question).header.id
        return answer

    for _ in range(3):
        assert [str(each.rdata) for each in (await ask("example.org")).rr] == ["192.0.2.1"]
    assert upstream.asked == ["example.org."]
    alias = await ask("outside.shop.svc.cluster.local")
    assert [str(each.rdata) for each in alias.rr] == ["example.com.", "192.0.2.1"]
    transport.close()
