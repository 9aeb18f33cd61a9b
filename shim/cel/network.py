"""Kubernetes' functions on addresses: ``ip`` and ``cidr``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from shim.cel.functions import Library, math_ceil, traversal
from shim.cel.types import Type
from shim.cel.values import CelError, Opaque

LIBRARY = Library()
_function, _method, _add = LIBRARY.function, LIBRARY.method, LIBRARY.add
LIBRARY.types.update({name: Type(name) for name in ("net.IP", "net.CIDR")})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class IP(Opaque):
    TYPE = "net.IP"
    address: Address

    def __str__(self) -> str:
        return str(self.address)

    def size(self) -> int:
        return self.address.max_prefixlen // 8


@dataclass(frozen=True)
class CIDR(Opaque):
    TYPE = "net.CIDR"
    address: Address
    network: Network

    def __str__(self) -> str:
        return f"{self.address}/{self.network.prefixlen}"

    def size(self) -> int:
        return (self.network.prefixlen + 7) // 8


# --- ip ---------------------------------------------------------------------------------------------------------------


def _parse_ip(text: str) -> IP:
    if "%" in text:
        raise CelError(f'IP address "{text}" with zone value is not allowed')
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise CelError(f'IP Address "{text}" {_FROM_TEXT} ParseAddr("{text}"): unable to parse IP') from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise CelError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return IP(address)


def takes(parse: Any) -> Any:
    """Whether a text can be parsed."""

    def test(text: str) -> bool:
        try:
            parse(text)
        except CelError:
            return False
        return True

    return test


_add("ip", "string -> net.IP", _parse_ip, cost=traversal(0))
_add("isIP", "string -> bool", takes(_parse_ip), cost=traversal(0))
_add("ip.isCanonical", "string -> bool", lambda text: str(_parse_ip(text)) == text, cost=traversal(0, times=2))
_add("family", "net.IP -> int", lambda ip: ip.address.version, member=True)
_add("isUnspecified", "net.IP -> bool", lambda ip: ip.address.is_unspecified, member=True)
_add("isLoopback", "net.IP -> bool", lambda ip: ip.address.is_loopback, member=True)
_add("string", "net.IP -> string", str)


def _link_local_multicast(ip: IP) -> bool:
    packed = ip.address.packed
    return packed[:3] == b"\xe0\x00\x00" if len(packed) == 4 else packed[0] == 0xFF and packed[1] & 0x0F == 0x02


def _global_unicast(ip: IP) -> bool:
    """Go's notion: private addresses count."""
    address = ip.address
    broadcast = str(address) == "255.255.255.255"
    return not (
        broadcast or address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    )


_add("isLinkLocalMulticast", "net.IP -> bool", _link_local_multicast, member=True)
_add("isLinkLocalUnicast", "net.IP -> bool", lambda ip: ip.address.is_link_local, member=True)
_add("isGlobalUnicast", "net.IP -> bool", _global_unicast, member=True)

# --- cidr -------------------------------------------------------------------------------------------------------------


_FROM_TEXT = "parse error during conversion from string:"
_BAD_CIDR = f"network address {_FROM_TEXT}"


def _parse_cidr(text: str) -> CIDR:
    address, slash, bits = text.partition("/")
    try:
        if not slash or not bits.isdigit() or (len(bits) > 1 and bits[0] == "0"):
            raise ValueError
        network = ipaddress.ip_network(text, strict=False)
        found = ipaddress.ip_address(address)
    except ValueError:
        why = "bad prefix length" if slash else "no '/'"
        raise CelError(f'{_BAD_CIDR} CIDR "{text}" {_FROM_TEXT} netip.ParsePrefix("{text}"): {why}') from None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        raise CelError(f'{_BAD_CIDR} IPv4-mapped IPv6 address "{text}" is not allowed')
    return CIDR(found, network)


def _within(sizes: Any, result: float) -> float:
    return math_ceil(2 * sizes[0] * 0.1)


_add("cidr", "string -> net.CIDR", _parse_cidr, cost=traversal(0))
_add("isCIDR", "string -> bool", takes(_parse_cidr), cost=traversal(0))
_add("ip", "net.CIDR -> net.IP", lambda cidr: IP(cidr.address), member=True)
_add("prefixLength", "net.CIDR -> int", lambda cidr: cidr.network.prefixlen, member=True)
_add("masked", "net.CIDR -> net.CIDR", lambda cidr: CIDR(cidr.network.network_address, cidr.network), member=True)
_add("string", "net.CIDR -> string", str)


def _contains_ip(cidr: CIDR, ip: IP) -> bool:
    return ip.address.version == cidr.network.version and ip.address in cidr.network


def _contains_cidr(cidr: CIDR, other: CIDR) -> bool:
    return _contains_ip(cidr, IP(other.address)) and other.network.prefixlen >= cidr.network.prefixlen


_add("containsIP", "net.CIDR, net.IP -> bool", _contains_ip, member=True, cost=_within)
_add("containsIP", "net.CIDR, string -> bool", lambda cidr, text: _contains_ip(cidr, _parse_ip(text)), member=True,
     cost=lambda sizes, result: _within(sizes, 0) + traversal(1)(sizes, 0))  # fmt: skip
_add("containsCIDR", "net.CIDR, net.CIDR -> bool", _contains_cidr, member=True,
     cost=lambda sizes, result: _within(sizes, 0) + traversal(0)(sizes, 0) + 1)  # fmt: skip
_add("containsCIDR", "net.CIDR, string -> bool", lambda cidr, text: _contains_cidr(cidr, _parse_cidr(text)),
     member=True,
     cost=lambda sizes, result: _within(sizes, 0) + traversal(0, 1)(sizes, 0) + 1)  # fmt: skip
