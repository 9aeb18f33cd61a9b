"""From the bytes of a question to the bytes of its answer; made answers are kept until something changes."""

from __future__ import annotations

import random
from typing import Any

from dnslib import EDNS0, QTYPE, RCODE, DNSHeader, DNSRecord

from netproxy.dns.upstream import Unanswered, Upstream
from netproxy.dns.zone import Answer, Zone, code_of

PLAIN_LIMIT = 512  # bytes of a datagram for a client that does not say how much it takes
LIMIT = 1232  # and for one that says more: what passes everywhere in one piece
KEEP = 8192  # answers; a client that asks for random names must not fill the memory


class Answers:
    """Answers questions about the zone, and passes the others on."""

    def __init__(self, zone: Zone, upstream: Upstream) -> None:
        self._zone, self._upstream = zone, upstream
        self._made: dict[bytes, bytes] = {}

    def forget(self) -> None:
        """Call when a Service or endpoint has changed."""
        self._made.clear()

    def known(self, question: bytes) -> bytes | None:
        """The answer that was made before for the same question, whoever asked."""
        made = self._made.get(question[2:])
        return question[:2] + made if made is not None else None

    def make(self, question: bytes) -> bytes | None:
        """The datagram that answers; None where someone else has to be asked first (see :meth:`find`)."""
        request = _parse(question)
        if request is None:
            return None
        answer = self._lookup(request)
        if answer is None or answer.follow:
            return None
        response = self._pack(request, answer, _limit(request))
        if len(answer.records) <= 1:  # of several records each client should get another one first
            if len(self._made) >= KEEP:
                self._made.clear()
            self._made[question[2:]] = response[2:]
        return response

    async def find(self, question: bytes, *, stream: bool = False) -> bytes | None:
        """Any answer, with the help of others; None for what is not a question."""
        request = _parse(question)
        if request is None:
            return None
        answer = self._lookup(request)
        try:
            if answer is None:
                return await self._upstream.ask(question, stream=stream)
            if answer.follow:
                answer.records += await self._outside(answer.follow, request.q.qtype)
        except Unanswered:
            return _failed(request, RCODE.SERVFAIL)
        return self._pack(request, answer, 65535 if stream else _limit(request))

    async def _outside(self, name: str, kind: int) -> list[Any]:
        question = DNSRecord.question(name, QTYPE[kind])
        return list(DNSRecord.parse(await self._upstream.ask(bytes(question.pack()))).rr)

    def _lookup(self, request: Any) -> Answer | None:
        return self._zone.lookup(str(request.q.qname).rstrip(".").lower(), request.q.qtype)

    def _pack(self, request: Any, answer: Answer, limit: int) -> bytes:
        reply = _reply(request, code_of(answer))
        reply.add_answer(*(random.sample(answer.records, len(answer.records)) if _shuffles(answer) else answer.records))
        reply.add_ar(*answer.extra)
        if not answer.found:
            reply.add_auth(self._zone.authority())
        _echo_edns(request, reply)
        packed = bytes(reply.pack())
        if len(packed) <= limit:
            return packed
        reply = _reply(request, code_of(answer))
        reply.header.tc = 1  # ask again by TCP
        _echo_edns(request, reply)
        return bytes(reply.pack())


def _shuffles(answer: Answer) -> bool:
    return len({record.rtype for record in answer.records}) == 1  # an alias stays before what it leads to


def _parse(question: bytes) -> Any | None:
    """The question, if it is one."""
    try:
        request = DNSRecord.parse(question)
    except Exception:  # dnslib raises several kinds for malformed packets; none of them needs an answer
        return None
    return request if len(request.questions) == 1 and request.header.qr == 0 and request.header.opcode == 0 else None


def _reply(request: Any, code: int) -> Any:
    header = DNSHeader(id=request.header.id, qr=1, aa=1, ra=1, rd=request.header.rd, rcode=code)
    return DNSRecord(header, q=request.q)


def _failed(request: Any, code: int) -> bytes:
    reply = _reply(request, code)
    reply.header.aa = 0
    return bytes(reply.pack())


def _limit(request: Any) -> int:
    """How long a datagram the client takes."""
    return next((max(PLAIN_LIMIT, min(option.rclass, LIMIT)) for option in _edns(request)), PLAIN_LIMIT)


def _echo_edns(request: Any, reply: Any) -> None:
    if _edns(request):
        reply.add_ar(EDNS0(udp_len=LIMIT))


def _edns(request: Any) -> list[Any]:
    return [record for record in request.ar if record.rtype == QTYPE.OPT]
