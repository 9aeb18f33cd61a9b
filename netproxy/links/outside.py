"""The way of pods to the rest of the world: it knows no pod addresses, so their packets leave with the node's.

Between virtual nodes the machine does so for all of them (``links.virtual``); a node that is a machine of its own does
it for its pods.
"""

from __future__ import annotations

from netproxy import firewall

CHAIN = "SHIM-OUTSIDE"


def masquerade(cluster_cidr: str) -> None:
    """Give what pods send to addresses that are not pods' the address of the node. Can be repeated."""
    rule = f"-s {cluster_cidr} ! -d {cluster_cidr} -j MASQUERADE --random-fully"
    firewall.set_chain("nat", CHAIN, [rule], ["POSTROUTING"])
