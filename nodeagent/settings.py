"""Every setting of the node agent, with its default and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.api.flags import flag


@dataclass(frozen=True, slots=True)
class NodeAgentSettings:
    """``nodeagent``: the kubelet and the container engine of one node. Needs root."""

    kubeconfig: Path = flag("how to reach the API server, as system:node:NAME")
    node_name: str = flag("name of the Node object")
    node_ip: str = flag("address other nodes and the API server reach this node at")
    data_dir: Path = flag("this node's own state: pods, containers, logs")
    image_dir: Path = flag("images and unpacked layers; virtual nodes on one machine share it")
    run_dir: Path = flag("sockets and namespaces, gone after a reboot")
    cgroup_root: str = flag("cgroup under which this node's pods live, e.g. shim/node-1")
    client_ca: Path = flag("CA whose client certificates may use the kubelet API")
    tls_cert: Path = flag("certificate of the kubelet API")
    tls_key: Path = flag("key of the kubelet API")
    port: int = flag("port of the kubelet API", 10250)
    cluster_dns: str = flag("address of the cluster DNS in pods' resolv.conf", "10.96.0.10")
    cluster_domain: str = flag("domain of Services", "cluster.local")
    max_pods: int = flag("pods this node takes", 110)
    provider: str = flag("prefix of the Node's providerID", "shim")
