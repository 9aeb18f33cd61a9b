"""Every setting of the network proxy, with its default and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.api.flags import flag


@dataclass(frozen=True, slots=True)
class NetProxySettings:
    """``netproxy``: Services as iptables rules, routes to other nodes' pods, cluster DNS. Needs root."""

    kubeconfig: Path = flag("how to reach the API server")
    node_name: str = flag("the Node this runs on")
    node_ip: str = flag("address of this node")
    cluster_cidr: str = flag("addresses of pods: others are masqueraded on their way to a Service", "10.244.0.0/16")
    service_cidr: str = flag("addresses of Services", "10.96.0.0/16")
    cluster_dns: str = flag("address the cluster DNS answers on, on every node", "10.96.0.10")
    cluster_domain: str = flag("domain of Services", "cluster.local")
    masquerade_outside: bool = flag("packets of pods to the rest of the world leave with the node's address", False)
    healthz_bind_address: str = flag("where load balancers ask for /healthz; empty answers nobody", "0.0.0.0:10256")
    metrics_bind_address: str = flag(
        "where the machine itself asks for /metrics; empty answers nobody", "127.0.0.1:10249"
    )
    upstream_dns: str = flag("server for names outside the cluster; empty reads the machine's resolv.conf", "")
