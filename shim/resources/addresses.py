"""IP addresses and ranges as fields hold them: what is one, what of those is refused, and what is only warned of.

Old fields (Services, Endpoints, pods) take any spelling that cannot be misread; new ones only the canonical one, of
RFC 5952. "Misread" since v1.36: leading zeros, which some read as octal; IPv4 written as IPv6; a range with bits set
beyond its prefix. What an old object already holds stays valid in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Any

from shim.api.status import FieldError
from shim.resources.causes import NOT_A_CIDR, NOT_AN_IP, invalid, shown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = ipaddress.IPv4Network | ipaddress.IPv6Network
_LEADING_ZEROS = re.compile(r"(?<![0-9a-fA-F:])0+(?=[0-9]+(\.|$))")
_NOT_AN_INTERFACE = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"


def parse(text: str) -> Address | None:
    """The address a text means, leading zeros ignored; None for what is none."""
    if "%" in text:  # a zone: Python knows them, the API does not
        return None
    head, colon, tail = text.rpartition(":")
    if "." in tail:
        text = head + colon + _LEADING_ZEROS.sub("", tail)
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def parse_range(text: str) -> tuple[Address, Range] | None:
    """The address and the range of ``address/prefix``; None for what is none."""
    address, slash, prefix = text.partition("/")
    found = parse(address)
    if found is None or not slash or not (prefix.isascii() and prefix.isdigit()):
        return None
    try:
        return found, ipaddress.ip_network(f"{found}/{int(prefix)}", strict=False)
    except ValueError:
        return None


def _mapped(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def _has_leading_zeros(text: str) -> bool:
    dotted = text.partition("/")[0].rpartition(":")[2]
    prefix = text.partition("/")[2]
    return ("." in dotted and bool(_LEADING_ZEROS.search(dotted))) or (len(prefix) > 1 and prefix.startswith("0"))


def ip_address(at: str, text: str, known: Collection[str] = ()) -> list[FieldError]:
    """An address in an old field; ``known`` are those the object had before."""
    if text in known:
        return []
    found = parse(text)
    if found is None:
        return [invalid(at, text, NOT_AN_IP)]
    if _has_leading_zeros(text):
        return [invalid(at, text, "must not have leading 0s")]
    return [invalid(at, text, "must not be an IPv4-mapped IPv6 address")] if _mapped(found) else []


def cidr(at: str, text: str, known: Collection[str] = ()) -> list[FieldError]:
    """A range in an old field."""
    if text in known:
        return []
    found = parse_range(text)
    if found is None:
        return [invalid(at, text, NOT_A_CIDR)]
    address, network = found
    if _has_leading_zeros(text):
        return [invalid(at, text, "must not have leading 0s in IP or prefix length")]
    if _mapped(address):
        return [invalid(at, text, "must not have an IPv4-mapped IPv6 address")]
    if address != network.network_address:
        return [invalid(at, text, "must not have bits set beyond the prefix length")]
    return []


def canonical_ip(at: str, text: str) -> list[FieldError]:
    """An address in a new field."""
    return ip_address(at, text) or _canonical(at, text, str(parse(text)))


def canonical_cidr(at: str, text: str) -> list[FieldError]:
    """A range in a new field."""
    causes = cidr(at, text)
    found = None if causes else parse_range(text)
    return causes if found is None else _canonical(at, text, str(found[1]))


def interface_address(at: str, text: str) -> list[FieldError]:
    """An interface's address together with the size of its network, canonical."""
    found = parse_range(text)
    if found is None:
        return [invalid(at, text, _NOT_AN_INTERFACE)]
    address, network = found
    size = network.prefixlen
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address, size = address.ipv4_mapped, size - 96 if size > 32 else size
    return _canonical(at, text, f"{address}/{size}")


def _canonical(at: str, text: str, canonical: str) -> list[FieldError]:
    return [] if text == canonical else [invalid(at, text, f"must be in canonical form ({shown(canonical)})")]


def endpoint_ip(at: str, text: str) -> list[FieldError]:
    """An address that one machine may have, whatever its spelling."""
    address = parse(text)
    if address is None:
        return [invalid(at, text, "must be a valid IP address")]
    texts: list[str] = []
    if address.is_unspecified:
        texts.append(f"may not be unspecified ({text})")
    if address.is_loopback:
        texts.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        texts.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    link_local = (0xFF, 2) if address.version == 6 else (224, 0)
    if tuple(address.packed[:2]) == link_local and (address.version == 6 or address.packed[2] == 0):
        texts.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return [invalid(at, text, complaint) for complaint in texts]


def ip_warnings(at: str, text: str) -> list[str]:
    """An address that is meant clearly but spelled unusually."""
    found = parse(text)
    if found is None:
        return []
    if _has_leading_zeros(text) or _mapped(found):
        plain = getattr(found, "ipv4_mapped", None) or found
        return [f"{at}: non-standard IP address {shown(text)} is invalid: use {shown(str(plain))}"]
    if found.version == 6 and str(found) != text:
        return [f"{at}: IPv6 address {shown(text)} should be in RFC 5952 canonical format ({shown(str(found))})"]
    return []


def balancer_warnings(obj: Mapping[str, Any]) -> list[str]:
    """Addresses that a load balancer gave a Service or an Ingress."""
    found = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [
        warning
        for index, each in enumerate(found)
        for warning in ip_warnings(f"status.loadBalancer.ingress[{index}]", each.get("ip") or "")
    ]


def cidr_warnings(at: str, text: str) -> list[str]:
    """A range that is meant clearly but spelled unusually."""
    parsed = parse_range(text)
    if parsed is None:
        return []
    address, network = parsed
    found: list[str] = []
    if address != network.network_address:
        single = f"{address}/{network.max_prefixlen}"
        ways = f"should be {shown(str(network))} or {shown(single)}?"
        found.append(f"{at}: CIDR value {shown(text)} is ambiguous in this context ({ways})")
    if _has_leading_zeros(text) or _mapped(address):
        found.append(f"{at}: non-standard CIDR value {shown(text)} is invalid: use {shown(str(network))}")
    elif not found and address.version == 6 and str(network) != text:
        way = f"should be in RFC 5952 canonical format ({shown(str(network))})"
        found.append(f"{at}: IPv6 CIDR value {shown(text)} {way}")
    return found
