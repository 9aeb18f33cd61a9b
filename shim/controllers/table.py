"""Which controllers are there? Everything the controller manager runs, in the order it is begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from shim.client import Client
from shim.client.leader import one_of_several
from shim.client.measured import REQUESTS, of_leadership, of_queues
from shim.client.showing import showing
from shim.controllers.account_tokens import AccountTokens
from shim.controllers.bootstrap_tokens import BootstrapSigner, TokenCleaner
from shim.controllers.cluster_dns import ClusterDnsController
from shim.controllers.cluster_roles import ClusterRoleAggregation
from shim.controllers.csr import CsrCleaner, CsrSigner
from shim.controllers.csr_approval import CsrApprover
from shim.controllers.disruption import DisruptionController
from shim.controllers.disruption_stale import StaleDisruptions
from shim.controllers.ephemeral_volume import EphemeralVolumeController
from shim.controllers.garbage_collector import GarbageCollector
from shim.controllers.joining import JoiningController
from shim.controllers.load_balancer import LoadBalancerController
from shim.controllers.local_path import LocalPathProvisioner
from shim.controllers.loop import Controller, run_controllers
from shim.controllers.namespace import NamespaceController
from shim.controllers.node_ipam import NodeIpamController
from shim.controllers.node_lifecycle import NodeLifecycleController
from shim.controllers.node_ttl import NodeTtlController
from shim.controllers.pod_gc import PodGcController
from shim.controllers.policy_types import PolicyTypes
from shim.controllers.resource_quota import ResourceQuotaController
from shim.controllers.root_ca import RootCaController
from shim.controllers.service_accounts import ServiceAccountController
from shim.controllers.service_cidrs import ServiceCidrController
from shim.controllers.storage_protection import StorageProtectionController
from shim.controllers.taint_eviction import TaintEvictionController
from shim.controllers.volume_binder import VolumeBinder
from shim.controllers.workloads import WORKLOADS
from shim.settings import ControllerSettings

CLUSTER: list[type[Controller]] = [
    NodeIpamController,
    ServiceAccountController,
    AccountTokens,
    RootCaController,
    NodeLifecycleController,
    NodeTtlController,
    TaintEvictionController,
    PodGcController,
    NamespaceController,
    GarbageCollector,
    DisruptionController,
    StaleDisruptions,
    ClusterRoleAggregation,
    LoadBalancerController,
    ClusterDnsController,
    VolumeBinder,
    LocalPathProvisioner,
    EphemeralVolumeController,
    StorageProtectionController,
    ResourceQuotaController,
    ServiceCidrController,
    CsrApprover,
    CsrSigner,
    CsrCleaner,
    JoiningController,
    BootstrapSigner,
    TokenCleaner,
    PolicyTypes,
]
"""What keeps the cluster itself in order."""

CONTROLLERS: list[type[Controller]] = [*CLUSTER, *WORKLOADS]


NAME = "kube-controller-manager"


async def run(settings: ControllerSettings, ready: Callable[[], None]) -> None:
    """The controller manager: works until cancelled, and says ``ready`` once its copies are complete."""
    at_work: list[Controller] = []  # none while another one leads

    async def work(done: Callable[[], None]) -> None:
        try:
            await run_controllers(CONTROLLERS, client, settings, done, at_work)
        finally:
            at_work.clear()

    def families() -> Iterator[Metric]:
        yield from of_queues((controller.name, controller.queue) for controller in at_work)
        yield from REQUESTS.collect()
        if settings.leader_elect:
            yield from of_leadership(NAME, bool(at_work))

    client = Client.from_kubeconfig(settings.kubeconfig, user_agent=NAME)
    async with client, showing(settings, client, families):
        await one_of_several(client, NAME, settings.leader_elect, work, ready)
