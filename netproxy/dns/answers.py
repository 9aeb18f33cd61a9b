"""From a question's bytes to an answer's: the zone's records on the wire, kept encoded while nothing changes."""

from __future__ import annotations

import random

from dnslib import CLASS, EDNS0, QTYPE, RCODE, RR, DNSHeader, DNSRecord
from dnslib import CNAME as CNAME_RDATA
from dnslib import NS as NS_RDATA
from dnslib import PTR as PTR_RDATA
from dnslib import SOA as SOA_RDATA
from dnslib import SRV as SRV_RDATA
from dnslib import TXT as TXT_RDATA
from dnslib import A as A_RDATA
from dnslib.dns import DNSError

from netproxy.dns.zone import CNAME, NS, PTR, SRV, TXT, A, Found, Record, Zone

TTL = 5  # seconds, CoreDNS's for cluster names: a client sees a change soon
PLAIN_LIMIT = 512  # bytes of a UDP answer to a client that does not say more (RFC 1035)
LIMIT = 1232  # and to one that says more: what passes every network in one piece
KEPT = 10_000  # encoded answers


class Answers:
    """Answers questions about the zone; ``None`` means another server is to be asked."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._kept: dict[tuple[bytes, bool], bytes] = {}
        self._version = -1

    def to(self, question: bytes, *, udp: bool = True) -> bytes | None:
        """The answer on the wire. An unreadable question is answered with FORMERR, or not at all (b"")."""
        if self._version != self._zone.version or len(self._kept) > KEPT:
            self._kept.clear()
            self._version = self._zone.version
        key = (question[2:], udp)
        kept = self._kept.get(key)
        if kept is None:
            made = self._make(question, udp)
            if not made or int.from_bytes(made[6:8], "big") > 1:  # several records are shuffled anew for each client
                return made
            kept = self._kept[key] = made[2:]
        return question[:2] + kept

    def _make(self, question: bytes, udp: bool) -> bytes | None:
        if len(question) < 12 or question[2] & 0x80:  # an answer is not a question: never answer one
            return b""
        try:
            asked = DNSRecord.parse(question)
        except (DNSError, ValueError, IndexError, UnicodeError):
            header = DNSHeader(id=int.from_bytes(question[:2], "big"), qr=1, rcode=RCODE.FORMERR)
            return bytes(DNSRecord(header).pack())
        if len(asked.questions) != 1 or asked.header.opcode != 0:
            reply = asked.reply()
            reply.header.rcode = RCODE.NOTIMP
            return bytes(reply.pack())
        name = str(asked.q.qname).rstrip(".").lower()
        if not self._zone.holds(name) or asked.q.qclass not in (CLASS.IN, 255):
            return None
        found = self._zone.find(name, asked.q.qtype)
        if self._leads_outside(found, asked.q.qtype):
            return None
        reply = asked.reply(ra=1, aa=1)
        if name == self._zone.domain and asked.q.qtype == QTYPE.SOA:
            reply.add_answer(self._soa())
        else:
            self._fill(reply, found, name, str(asked.q.qname))
        limit = _limit(asked)
        if asked.ar:
            reply.add_ar(EDNS0(udp_len=LIMIT))
        packed = bytes(reply.pack())
        if udp and len(packed) > limit:
            packed = bytes(reply.truncate().pack())  # the client asks again over TCP
        return packed

    def alias(self, question: bytes) -> str | None:
        """For a name of ours that is an alias of one outside: that one. See :meth:`with_outside`."""
        asked = DNSRecord.parse(question)
        name = str(asked.q.qname).rstrip(".").lower()
        found = self._zone.find(name, asked.q.qtype) if self._zone.holds(name) else Found(False)
        return str(found.records[-1][1].value) if self._leads_outside(found, asked.q.qtype) else None

    def with_outside(self, question: bytes, outside: bytes) -> bytes:
        """The whole answer to a question about an alias: where it leads to, and what was answered about that."""
        asked, beyond = DNSRecord.parse(question), DNSRecord.parse(outside)
        reply = asked.reply(ra=1, aa=1)
        spelled = str(asked.q.qname)
        for owner, record in self._zone.find(spelled.rstrip(".").lower(), asked.q.qtype).records:
            reply.add_answer(_rr(owner, record))
        reply.add_answer(*beyond.rr)
        reply.header.rcode = beyond.header.rcode
        return bytes(reply.pack())

    def _leads_outside(self, found: Found, kind: int) -> bool:
        last = found.records[-1][1] if found.records else None
        return last is not None and last.kind == CNAME != kind and not self._zone.holds(str(last.value))

    def _fill(self, reply: DNSRecord, found: Found, name: str, spelled: str) -> None:
        records = list(found.records)
        random.shuffle(records)  # a headless Service's clients spread over its pods
        records.sort(key=lambda pair: pair[1].kind != CNAME)
        for owner, record in records:
            reply.add_answer(_rr(spelled if owner == name else owner, record))
        for owner, record in found.additional:
            reply.add_ar(_rr(owner, record))
        if not found.exists:
            reply.header.rcode = RCODE.NXDOMAIN
        if not records:
            reply.add_auth(self._soa())

    def _soa(self) -> RR:
        domain = self._zone.domain
        times = (self._zone.version, 7200, 1800, 86400, TTL)
        data = SOA_RDATA(self._zone.name_server, f"hostmaster.{domain}", times)
        return RR(domain, QTYPE.SOA, rdata=data, ttl=TTL)


def _rr(owner: str, record: Record) -> RR:
    value = record.value
    if isinstance(value, tuple):
        return RR(owner, QTYPE.SRV, rdata=SRV_RDATA(0, 100, value[0], value[1]), ttl=TTL)
    return RR(owner, record.kind, rdata=_RDATA[record.kind](value), ttl=TTL)


_RDATA = {A: A_RDATA, CNAME: CNAME_RDATA, NS: NS_RDATA, PTR: PTR_RDATA, TXT: TXT_RDATA}


def _limit(asked: DNSRecord) -> int:
    """How long a UDP answer the client takes (EDNS, RFC 6891)."""
    option = next((each for each in asked.ar if each.rtype == QTYPE.OPT), None)
    return max(PLAIN_LIMIT, min(int(option.rclass), LIMIT)) if option is not None else PLAIN_LIMIT


def failure(question: bytes) -> bytes:
    """SERVFAIL: no server could be asked."""
    reply = DNSRecord.parse(question).reply(ra=1)
    reply.header.rcode = RCODE.SERVFAIL
    return bytes(reply.pack())


__all__ = ["SRV", "Answers", "failure"]
