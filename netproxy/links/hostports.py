"""Container ports that the node itself answers on: rewritten addresses in chains of our own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netproxy import firewall
from netproxy.links import bridge, conntrack, namespaces
from netproxy.links.ipam import Lease, Port

CHAIN = "SHIM-HOSTPORTS"
MASQUERADE = "SHIM-HOSTMASQ"
JUMPS = ["PREROUTING -m addrtype --dst-type LOCAL", "OUTPUT -m addrtype --dst-type LOCAL"]


def rules(leases: Iterable[Lease]) -> tuple[list[str], list[str]]:
    """The rules that send host ports to pods, and those that let the answers find back."""
    to_pods, back = [], []
    for lease in sorted(leases, key=lambda lease: lease.address):
        for host_port, container_port, protocol, host_ip in lease.ports:
            proto = protocol.lower()
            destination = "" if host_ip in ("", "0.0.0.0") else f"-d {host_ip}/32 "
            target = f"-j DNAT --to-destination {lease.address}:{container_port}"
            to_pods.append(f"{destination}-p {proto} -m {proto} --dport {host_port} {target}")
            # the pod itself through its host port: it would answer itself directly, and not recognise the answer
            own = f"-s {lease.address}/32 -d {lease.address}/32"
            back.append(f"{own} -p {proto} -m {proto} --dport {container_port} -j MASQUERADE")
    if back:
        back.append(f"-s 127.0.0.0/8 -o {bridge.NAME} -j MASQUERADE")
    return to_pods, back


def apply(leases: Iterable[Lease]) -> None:
    """Make the chains hold exactly the host ports of these pods."""
    to_pods, back = rules(leases)
    if to_pods:
        namespaces.sysctl(f"net/ipv4/conf/{bridge.NAME}/route_localnet", "1")  # for the node's own 127.0.0.1
    firewall.set_chain("nat", CHAIN, to_pods, JUMPS)
    firewall.set_chain("nat", MASQUERADE, back, ["POSTROUTING"])


@dataclass(frozen=True, slots=True)
class _Flows:
    """All UDP flows to a port (``conntrack.Flows``)."""

    port: int
    address: str = ""
    endpoint: str = ""


def forget_flows(ports: Iterable[Port]) -> None:
    """Let senders of datagrams to these host ports be looked at anew: they go where the rules are now."""
    udp = [_Flows(host_port) for host_port, _, protocol, _ in ports if protocol.upper() == "UDP"]
    if udp:
        conntrack.forget(udp)
