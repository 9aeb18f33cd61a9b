"""What the kernel of a machine must do where a node is a whole machine: route for pods, and give them the outside.

It stays when the node's programs end, as its rules and routes do.
"""

from __future__ import annotations

from netproxy import firewall
from netproxy.links import namespaces

CHAIN = "SHIM-OUTSIDE"

FORWARDING = "net/ipv4/ip_forward"
SYSCTLS = {
    FORWARDING: "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    # pods route through the node even to their neighbours (see links.pods); do not tell them the shorter way
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    # routed pods pass the rules as it is; bridged frames need not pass them a second time
    "net/bridge/bridge-nf-call-iptables": "0",
}


def prepare(pod_cidr: str) -> None:
    """In the network namespace we are in. Raises FirewallError."""
    namespaces.sysctls(SYSCTLS)
    # others know no way back to a pod, not even a master that is no node
    firewall.set_chain("nat", CHAIN, [f"-s {pod_cidr} ! -d {pod_cidr} -j MASQUERADE"], ["POSTROUTING"])
