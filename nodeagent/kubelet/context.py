"""What the workers of all pods share: the engine, the API, the node. Made once, by the agent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from nodeagent.engine.contract import Engine, ImageStore
from nodeagent.images.access import Policy
from nodeagent.kubelet.clock import Clock
from nodeagent.kubelet.inventory import Inventory
from nodeagent.kubelet.meters import Meters
from nodeagent.kubelet.names import Paths
from nodeagent.kubelet.network import PodNetwork
from nodeagent.kubelet.probes import Prober
from nodeagent.kubelet.qosgroups import QosGroups
from nodeagent.kubelet.references import References, Tokens
from nodeagent.kubelet.resizequeue import ResizeQueue
from nodeagent.kubelet.resources import Amounts, Swap
from nodeagent.kubelet.statuswriter import StatusWriter
from nodeagent.kubelet.volumes import Volumes
from nodeagent.settings import NodeAgentSettings
from shim.api.meta import Object
from shim.client import Client, EventRecorder, Informer

STARTS_AT_ONCE = 8  # sandboxes and containers being made; more only wait for each other in the kernel


@dataclass(slots=True)
class Node:
    """Everything a pod's worker works with."""

    settings: NodeAgentSettings
    client: Client
    clock: Clock
    engine: Engine
    images: ImageStore
    image_policy: Policy  # whose pods show that they could have pulled an image that is here
    network: PodNetwork
    recorder: EventRecorder
    services: Informer
    http: aiohttp.ClientSession
    paths: Paths
    inventory: Inventory
    references: References
    tokens: Tokens
    volumes: Volumes
    prober: Prober
    statuses: StatusWriter
    allocatable: Mapping[str, str]
    memory_capacity: int
    swap: Swap
    meters: Meters
    groups: QosGroups
    requested: dict[str, Amounts]  # what is allocated to each pod, by uid
    resizes: ResizeQueue
    starting: asyncio.Semaphore
    network_up: asyncio.Event  # pods can be attached
    evicted: Counter[str] = field(default_factory=Counter)  # pods sent away, by the signal of the shortage
    own_users: Counter[str] = field(default_factory=Counter)  # pods with user namespaces that started and that failed
    went_down: tuple[float, float] = (0.0, 0.0)  # when the last orderly end of all pods began, and was over

    @property
    def reference(self) -> Object:
        """The Node, as events point at it."""
        name = self.settings.node_name
        return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name}}
