"""The network of a cluster whose nodes are namespaces on this machine: a bridge, a namespace per node, and what the
machine needs to reach pods and Services and to give them the outside.

What is changed on the machine is written down in ``/run/kubeshim/NAME.json`` before it is done, so that
:func:`remove_all` puts everything back, after a crash too. All functions can be repeated.

- Nodes are on the bridge NAME0; its first address is the machine's, and the nodes' default route.
- Pods are reached through their nodes: the machine asks on the bridge who has a pod's address, and the node that holds
  the pod's network answers for it (proxy ARP). So the machine needs one route, and nobody to keep it current.
- Services are reached by a route through the first node, whose rules send the packets on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

from netproxy import firewall
from netproxy.links import namespaces, netlink
from netproxy.links.machine import FORWARDING, SYSCTLS
from netproxy.links.ranges import NoFreeRange, Ranges, choose, taken_on_machine

__all__ = [
    "NoFreeRange",
    "Ranges",
    "create_cluster_network",
    "create_node",
    "netns_path",
    "pick_ranges",
    "remove_all",
    "remove_node",
]

RECORDS = Path("/run/kubeshim")
UPLINK_SYSCTLS = {
    "net/ipv4/conf/eth0/rp_filter": "0",
    "net/ipv4/conf/eth0/send_redirects": "0",
    "net/ipv4/conf/eth0/proxy_arp": "1",
    "net/ipv4/neigh/eth0/proxy_delay": "0",  # answer at once, not after up to 0.8 s
}


@dataclass(slots=True)
class Record:
    """What a cluster changed on the machine."""

    ranges: Ranges
    nodes: dict[str, str] = field(default_factory=dict)  # name -> address
    forwarding_before: str | None = None
    tables: list[str] = field(default_factory=list)  # iptables tables with a chain of ours


def pick_ranges(name: str, kept: tuple[str, str, str] | None = None) -> Ranges:
    """Addresses that nothing on this machine uses; the ``kept`` ones when they are free or this cluster's own."""
    taken = list(taken_on_machine(bridge_name(name)))
    for other in _records(except_name=name).values():
        taken += map(IPv4Network, other.ranges)
    return choose(taken, kept)


def create_cluster_network(name: str, *, node_cidr: str, pod_cidr: str, service_cidr: str) -> None:
    """Make the bridge, forward packets, and masquerade what leaves for the outside."""
    ranges = Ranges(node_cidr, pod_cidr, service_cidr)
    bridge, chain = bridge_name(name), chain_name(name)
    with _lock():
        record = _load(name) or Record(ranges)
        record.ranges = ranges
        if record.forwarding_before is None:
            record.forwarding_before = namespaces.sysctl(FORWARDING)
        record.tables = ["nat", *(["filter"] if _filters() or "filter" in record.tables else [])]
        _save(name, record)
        namespaces.sysctl(FORWARDING, "1")
        with netlink.connect() as kernel:
            _bridge(kernel, bridge, ranges)
        outside = [f"-s {cidr} ! -o {bridge} -j MASQUERADE" for cidr in (pod_cidr, node_cidr)]
        firewall.set_chain("nat", chain, outside, ["POSTROUTING"])
        if "filter" in record.tables:
            accept = [f"-i {bridge} -j ACCEPT", f"-o {bridge} -j ACCEPT"]
            firewall.set_chain("filter", chain, accept, ["FORWARD", "INPUT"])


def create_node(name: str, node: str, ip: str) -> Path:
    """Make the node's namespace with its address on the bridge; returns the namespace's path."""
    path = netns_path(name, node)
    with _lock():
        record = _load(name)
        if record is None:
            raise LookupError(f"cluster {name!r} has no network; create_cluster_network makes it")
        record.nodes[node] = ip
        _save(name, record)
        namespaces.create(path)
        with namespaces.inside(path):
            namespaces.sysctls(SYSCTLS)
        with netlink.connect() as kernel:
            bridge = netlink.find(kernel, bridge_name(name))
            link = interface_name(name, node)
            with netlink.connect(path) as inner:
                if netlink.find(inner, "eth0") is None:
                    netlink.delete(kernel, link)
                    _veth(kernel, link, path)
                kernel.link("set", index=netlink.find(kernel, link), master=bridge, state="up")
                _node_addresses(inner, ip, record.ranges)
            with namespaces.inside(path):
                namespaces.sysctls(UPLINK_SYSCTLS)
            first = next(iter(record.nodes.values()))
            if first == ip:
                kernel.route("replace", dst=record.ranges.service_cidr, gateway=ip)
    return path


def remove_node(name: str, node: str) -> None:
    """Take a node's namespace and its link away. Processes still in it keep it alive, unconnected."""
    with _lock():
        record = _load(name)
        if record is None or node not in record.nodes:
            return
        with netlink.connect() as kernel:
            _remove_node(kernel, name, node)
            del record.nodes[node]
            _save(name, record)
            if record.nodes:  # Services are reached through a node that is there
                first = next(iter(record.nodes.values()))
                kernel.route("replace", dst=record.ranges.service_cidr, gateway=first)


def remove_all(name: str) -> None:
    """Put back everything this cluster changed on the machine, in whatever state it is."""
    with _lock(create=False) as locked:
        record = _load(name) if locked else None
        if record is None:
            return
        with netlink.connect() as kernel:
            for node in list(record.nodes):
                _remove_node(kernel, name, node)
            netlink.delete(kernel, bridge_name(name))  # its routes go with it
        for table in record.tables:
            firewall.remove_chain(table, chain_name(name))
        _restore_forwarding(name, record)
        _record_path(name).unlink()
        if not any(RECORDS.glob("*.json")):
            (RECORDS / "lock").unlink()
            RECORDS.rmdir()


# -- names


def netns_path(name: str, node: str) -> Path:
    """Where the node's namespace is, also for ``ip netns exec NAME-NODE``."""
    return namespaces.NAMED / f"{name}-{node}"


def bridge_name(name: str) -> str:
    return _short(f"{name}0")


def interface_name(name: str, node: str) -> str:
    """The machine's end of a node's link."""
    return _short(f"{name}-{node}")


def chain_name(name: str) -> str:
    full = f"SHIM-{name.upper()}"
    return full if len(full) <= 28 else f"{full[:19]}-{_hash(name)}"


def _short(name: str) -> str:
    """Interface names have at most 15 characters; longer ones end in a hash of the whole."""
    return name if len(name) <= 15 else f"{name[:6]}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


# -- steps


def _bridge(kernel: netlink.Netlink, bridge: str, ranges: Ranges) -> None:
    if netlink.find(kernel, bridge) is None:
        kernel.link("add", ifname=bridge, kind="bridge", address=netlink.hardware_address(f"{bridge} of the machine"))
    index = netlink.find(kernel, bridge)
    network = ip_network(ranges.node_cidr)
    with netlink.ignore(errno.EEXIST):
        kernel.addr("add", index=index, address=ranges.machine, prefixlen=network.prefixlen, broadcast=str(network[-1]))
    kernel.link("set", index=index, state="up")
    kernel.route("replace", dst=ranges.pod_cidr, oif=index, scope=netlink.LINK_SCOPE, prefsrc=ranges.machine)


def _veth(kernel: netlink.Netlink, link: str, path: Path) -> None:
    with path.open("rb") as target:
        kernel.link("add", ifname=link, kind="veth", peer={"ifname": "eth0", "net_ns_fd": target.fileno()})


def _node_addresses(inner: netlink.Netlink, ip: str, ranges: Ranges) -> None:
    uplink, loopback = netlink.find(inner, "eth0"), netlink.find(inner, "lo")
    network = ip_network(ranges.node_cidr)
    with netlink.ignore(errno.EEXIST):
        inner.addr("add", index=uplink, address=ip, prefixlen=network.prefixlen, broadcast=str(network[-1]))
    inner.link("set", index=loopback, state="up")
    inner.link("set", index=uplink, state="up")
    inner.route("replace", dst="default", gateway=ranges.machine)


def _remove_node(kernel: netlink.Netlink, name: str, node: str) -> None:
    # the link first: a process that is still in the namespace would keep it, and the bridge's port, alive
    netlink.delete(kernel, interface_name(name, node))
    namespaces.remove(netns_path(name, node))


def _filters() -> bool:
    """Whether the machine's firewall might drop what passes the bridge."""
    return any(
        line.startswith(("-A FORWARD", "-A INPUT", ":FORWARD DROP", ":INPUT DROP"))
        for line in firewall.save("filter").splitlines()
    )


def _restore_forwarding(name: str, record: Record) -> None:
    """Put the setting back; with other clusters running, the last of them will."""
    if record.forwarding_before is None:
        return
    others = _records(except_name=name)
    if not others:
        namespaces.sysctl(FORWARDING, record.forwarding_before)
    elif record.forwarding_before == "0":
        for other, content in others.items():
            content.forwarding_before = "0"
            _save(other, content)


# -- the record


@contextlib.contextmanager
def _lock(create: bool = True) -> Iterator[bool]:
    """One change of the machine's network at a time; False where there is nothing to lock."""
    while True:
        if create:
            RECORDS.mkdir(mode=0o755, exist_ok=True)
        elif not RECORDS.exists():
            yield False
            return
        try:
            handle = (RECORDS / "lock").open("a")
        except FileNotFoundError:
            continue  # the last cluster has just gone, with the folder
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                current = (RECORDS / "lock").stat().st_ino
            except FileNotFoundError:
                continue
            if current == os.fstat(handle.fileno()).st_ino:
                yield True
                return


def _record_path(name: str) -> Path:
    return RECORDS / f"{name}.json"


def _load(name: str) -> Record | None:
    try:
        content: dict[str, Any] = json.loads(_record_path(name).read_text())
    except FileNotFoundError:
        return None
    return Record(**{**content, "ranges": Ranges(*content["ranges"])})


def _save(name: str, record: Record) -> None:
    draft = RECORDS / f"{name}.new"
    draft.write_text(json.dumps(asdict(record) | {"ranges": list(record.ranges)}, indent=1) + "\n")
    draft.replace(_record_path(name))


def _records(except_name: str) -> dict[str, Record]:
    found = {path.stem: _load(path.stem) for path in RECORDS.glob("*.json") if path.stem != except_name}
    return {name: record for name, record in found.items() if record is not None}
