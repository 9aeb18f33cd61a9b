"""Every setting of the node agent, with its default and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nodeagent.images.access import Policy
from nodeagent.kubelet.eviction import thresholds
from nodeagent.kubelet.eviction.thresholds import Threshold
from shim.api import quantity
from shim.api.flags import flag
from shim.api.quantity import Quantity

RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")


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
    read_only_port: int = flag("port without any check of who asks, for reading only; 0: none", 0)
    cluster_dns: str = flag("address of the cluster DNS in pods' resolv.conf", "10.96.0.10")
    cluster_domain: str = flag("domain of Services", "cluster.local")
    max_pods: int = flag("pods this node takes", 110)
    seccomp_default: bool = flag(
        "filter the system calls of containers that say nothing about it; costs 0.7 ms a start", True
    )
    eviction_hard: str = flag(
        "pods go at once when the node has less than this; nothing is watched that is not named",
        "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%",
    )
    eviction_soft: str = flag("the same, for pods that are given time: memory.available<300Mi", "")
    eviction_soft_grace_period: str = flag("how long a soft threshold must be crossed: memory.available=1m30s", "")
    eviction_minimum_reclaim: str = flag("how much more must be free until it is over: memory.available=50Mi", "")
    eviction_max_pod_grace_period: int = flag("seconds pods have at most to end, at a soft threshold", 0)
    eviction_pressure_transition_seconds: int = flag("how long the node says that it was short of something", 300)
    kube_reserved: str = flag("what pods cannot have, because Kubernetes needs it: cpu=100m,memory=200Mi", "")
    system_reserved: str = flag("likewise, because the rest of the machine does", "")
    image_gc_high_threshold: int = flag("percent of the images' disk in use from which on unused ones go", 85)
    image_gc_low_threshold: int = flag("percent until which they go", 80)
    image_maximum_gc_age: int = flag("seconds unused after which images go even if there is room; 0: never", 0)
    image_minimum_gc_age: int = flag("seconds an image must have been unused", 120)
    shutdown_grace_period: str = flag("how long pods have to end when the machine shuts down, as 30s; 0s: none", "0s")
    shutdown_grace_period_critical_pods: str = flag("what of it is kept for critical pods, which end last", "0s")
    shutdown_grace_period_by_pod_priority: str = flag("instead of both, for each priority: 0=20s,1000=10s", "")
    shutdown_by_systemd: bool = flag("have systemd, where it runs, wait for the pods at a shutdown", True)
    pod_manifest_path: str = flag("folder of manifests of static pods, which need no API server", "")
    manifest_url: str = flag("where to ask, every 20 s, for manifests of further static pods", "")
    pod_cidr: str = flag("network of the pods as long as no API server has told it", "")
    pod_pids_limit: int = flag("processes a pod may have; -1: as many as all pods together", -1)
    swap_behavior: str = flag(
        "NoSwap, or LimitedSwap: burstable pods get a part of it (with cgroups of version 2)", "NoSwap"
    )
    image_pull_credentials_verification_policy: str = flag(
        f"whose pods show that they could have pulled an image that is here: {', '.join(Policy.NAMES)}",
        "NeverVerifyPreloadedImages",
    )
    preloaded_images_verification_allowlist: tuple[str, ...] = flag(
        "repositories that NeverVerifyAllowlistedImages means; they may end in /*", ()
    )
    allowed_unsafe_sysctls: tuple[str, ...] = flag(
        "kernel parameters that pods may set beyond the safe ones; they may end in *", ()
    )
    provider: str = flag("prefix of the Node's providerID", "shim")

    def reserved(self) -> dict[str, Quantity]:
        """What pods cannot have, whatever they are. Raises ValueError."""
        found: dict[str, Quantity] = {}
        for text in (self.kube_reserved, self.system_reserved):
            for name, value in thresholds.split(text, "="):
                if name not in RESERVABLE:
                    raise ValueError(f"cannot reserve {name!r}, only {', '.join(RESERVABLE)}")
                found[name] = found.get(name, Quantity(0)) + quantity.parse(value)
        return found

    def image_policy(self) -> Policy:
        """Raises ValueError."""
        return Policy(self.image_pull_credentials_verification_policy, self.preloaded_images_verification_allowlist)

    def thresholds(self) -> tuple[Threshold, ...]:
        """Raises ValueError."""
        return thresholds.parse(
            self.eviction_hard, self.eviction_soft, self.eviction_soft_grace_period, self.eviction_minimum_reclaim
        )
