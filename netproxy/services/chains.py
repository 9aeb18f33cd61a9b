"""The names of chains, as kube-proxy gives them, and how a packet gets to them.

Names hold a hash of what they stand for: chain names have at most 28 characters.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256

from netproxy.rules.family import ChainFamily

SERVICES = "KUBE-SERVICES"  # nat: cluster IPs and the like; filter: those without endpoints
NODE_PORTS = "KUBE-NODEPORTS"
EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES"
POSTROUTING = "KUBE-POSTROUTING"
MARK_MASQ = "KUBE-MARK-MASQ"
FORWARD = "KUBE-FORWARD"
PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"
FIREWALL = "KUBE-FIREWALL"

FIXED = {
    "nat": (SERVICES, NODE_PORTS, POSTROUTING, MARK_MASQ),
    "filter": (SERVICES, EXTERNAL_SERVICES, FORWARD, NODE_PORTS, PROXY_FIREWALL, FIREWALL),
}
HASHED = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-FW-", "KUBE-EXT-", "KUBE-SEP-")

LAST_OF_SERVICES = (
    '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" '
    f"-m addrtype --dst-type LOCAL -j {NODE_PORTS}"
)

_NEW = "-m conntrack --ctstate NEW "


def _jump(source: str, comment: str, target: str, match: str = "") -> str:
    return f'{source} {match}-m comment --comment "{comment}" -j {target}'


JUMPS = {
    "nat": (
        _jump("OUTPUT", "kubernetes service portals", SERVICES),
        _jump("PREROUTING", "kubernetes service portals", SERVICES),
        _jump("POSTROUTING", "kubernetes postrouting rules", POSTROUTING),
    ),
    "filter": (
        _jump("INPUT", "kubernetes externally-visible service portals", EXTERNAL_SERVICES, _NEW),
        _jump("FORWARD", "kubernetes externally-visible service portals", EXTERNAL_SERVICES, _NEW),
        _jump("INPUT", "kubernetes health check service ports", NODE_PORTS),
        _jump("FORWARD", "kubernetes service portals", SERVICES, _NEW),
        _jump("OUTPUT", "kubernetes service portals", SERVICES, _NEW),
        _jump("FORWARD", "kubernetes forwarding rules", FORWARD),
        _jump("INPUT", "kubernetes load balancer firewall", PROXY_FIREWALL, _NEW),
        _jump("OUTPUT", "kubernetes load balancer firewall", PROXY_FIREWALL, _NEW),
        _jump("FORWARD", "kubernetes load balancer firewall", PROXY_FIREWALL, _NEW),
        f"INPUT -j {FIREWALL}",
        f"OUTPUT -j {FIREWALL}",
    ),
}
FAMILY = ChainFamily(
    fixed=FIXED,
    hashed={"nat": HASHED},
    jumps=JUMPS,
    unordered=frozenset({SERVICES, NODE_PORTS, EXTERNAL_SERVICES, PROXY_FIREWALL}),
    last=LAST_OF_SERVICES,
)


def service_chain(port: str, protocol: str) -> str:
    """To an endpoint anywhere."""
    return "KUBE-SVC-" + _hash(port + protocol)


def local_chain(port: str, protocol: str) -> str:
    """To an endpoint on this node."""
    return "KUBE-SVL-" + _hash(port + protocol)


def external_chain(port: str, protocol: str) -> str:
    """For what comes to a node port, an external or a load balancer's address."""
    return "KUBE-EXT-" + _hash(port + protocol)


def firewall_chain(port: str, protocol: str) -> str:
    """Who may come to the load balancer's address."""
    return "KUBE-FW-" + _hash(port + protocol)


def endpoint_chain(port: str, protocol: str, endpoint: str) -> str:
    """To one endpoint."""
    return "KUBE-SEP-" + _hash(port + protocol + endpoint)


def _hash(text: str) -> str:
    return b32encode(sha256(text.encode()).digest())[:16].decode()
