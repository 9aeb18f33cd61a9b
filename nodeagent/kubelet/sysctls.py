"""Which kernel parameters a pod may set on this node: those of its own namespaces that cannot harm its neighbours.

Upstream's list of safe ones; further ones an administrator has to allow, by name or by what they begin with. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from nodeagent.kubelet.status import Verdict
from shim.api.meta import Object

SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
_NAMESPACES = {
    "IPC": r"kernel\.(sem|shm(all|max|mni|_rmid_forced|\*)|msg(max|mnb|mni|\*))|fs\.mqueue\..*",
    "Net": r"net\..*",
}
_HOST = {"IPC": "hostIPC", "Net": "hostNetwork"}


def namespace_of(name: str) -> str:
    """``IPC`` or ``Net``; empty for a parameter of the whole machine."""
    return next((kind for kind, pattern in _NAMESPACES.items() if re.fullmatch(pattern, name)), "")


def check_allowed(patterns: Iterable[str]) -> None:
    """Raises ValueError for what no pod can have for itself, whoever allows it."""
    for pattern in patterns:
        if not namespace_of(normal(pattern)):
            raise ValueError(f"the sysctl {pattern!r} is not known to be namespaced")


def refusal(pod: Object, allowed: Iterable[str]) -> Verdict | None:
    """Why the pod may not run here."""
    spec = pod["spec"]
    for sysctl in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = normal(sysctl["name"])
        kind = namespace_of(name)
        if not any(_allows(normal(pattern), name) for pattern in (*SAFE, *allowed)):
            return _forbidden(f'"{name}" not allowlisted')
        if spec.get(_HOST[kind]):
            return _forbidden(f'"{name}" not allowed with host {kind} enabled')
    return None


def normal(name: str) -> str:
    """With dots between its parts. Whoever writes slashes (``net/ipv4/conf/eth0.1/x``) has dots within them."""
    first = re.search(r"[./]", name)
    if first is None or first[0] == ".":
        return name
    return name.translate(str.maketrans("./", "/."))


def _allows(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _forbidden(why: str) -> Verdict:
    return Verdict("SysctlForbidden", f"forbidden sysctl: {why}")
