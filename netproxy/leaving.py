"""How does a machine that was a node, or a master, get rid of its proxy and pods' network? All but sysctls goes.

While it is one all of this stays whenever a proxy ends, so that a restart is unnoticed.
"""

from __future__ import annotations

import errno
import socket

from netproxy import firewall
from netproxy.links import bridge, faults, hostports, ipset, netlink, newcomers, outside, routes, vxlan
from netproxy.policies import chains as policies
from netproxy.rules.family import ChainFamily
from netproxy.services import chains as services

FAMILIES = (services.FAMILY, policies.FAMILY)
CHAINS = {(faults.TABLE, faults.CHAIN), *(("nat", name) for name in (hostports.CHAIN, hostports.MASQUERADE))}
CHAINS |= {("nat", outside.CHAIN)}
LINKS = (routes.SERVICES, vxlan.NAME, bridge.NAME)


def leave() -> None:
    """Take it all from the network namespace we are in. Repeatable. Raises FirewallError and OSError."""
    for table in ("filter", "nat", "mangle"):
        _remove_chains(table)
    with ipset.connect() as sets:
        for name in ipset.listed(sets, ""):
            if name.startswith(policies.SETS) or name == newcomers.SET:
                ipset.destroy(sets, name)
    with netlink.connect() as kernel:
        for route in kernel.get_routes(family=socket.AF_INET):
            if route["proto"] in (routes.OURS, routes.SERVICES_PROTO):
                with netlink.ignore(errno.ESRCH):
                    kernel.route("del", dst=f"{route.get('dst')}/{route['dst_len']}", proto=route["proto"])
        for name in LINKS:  # with the addresses on them
            netlink.delete(kernel, name)


def _remove_chains(table: str) -> None:
    """All at once, and the rules that lead to them first: others' chains stay as they are."""
    lines = firewall.save(table).splitlines()
    chains = {line[1:].split()[0] for line in lines if line.startswith(":")}
    ours = {
        chain for chain in chains if (table, chain) in CHAINS or any(_owns(each, table, chain) for each in FAMILIES)
    }
    if not ours:
        return
    rules = [line.split() for line in lines if line.startswith("-A ")]
    jumps = [
        words for words in rules if words[1] not in ours and "-j" in words and words[words.index("-j") + 1] in ours
    ]
    script = [f"*{table}", *(f":{chain} - [0:0]" for chain in sorted(ours))]
    script += [f"-D {' '.join(words[1:])}" for words in jumps]
    firewall.restore("\n".join([*script, *(f"-X {chain}" for chain in sorted(ours)), "COMMIT", ""]))


def _owns(family: ChainFamily, table: str, chain: str) -> bool:
    return table in family.fixed and family.owns(table, chain)
