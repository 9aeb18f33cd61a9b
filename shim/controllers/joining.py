"""What must be there for a machine to join with nothing but a token? The objects kubeadm makes, made here.

- ``cluster-info``: where the cluster is and its CA, for everyone to read (and signed with each token);
- roles and bindings, under kubeadm's names, that let a token's bearer ask for a node's certificate, and nodes for
  new ones; those under ``shim:`` are for what kubeadm does otherwise;
- ``shim-config``: the cluster's addresses, for nodes to know.

Without an address to publish (``public_url``) nothing is made: then no machine can join.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import yaml

from shim.api.bootstrap_tokens import INFO_KEY, INFO_NAME, INFO_NAMESPACE, MASTERS_GROUP, NODES_GROUP
from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

RBAC = "rbac.authorization.k8s.io"
CSR = "system:certificates.k8s.io:certificatesigningrequests"
NODES, ANONYMOUS = "system:nodes", "system:anonymous"
CONFIG_NAMESPACE, CONFIG_NAME = "kube-system", "shim-config"


class JoiningController(Controller):
    """Makes them once, when it begins; brings the address up to date."""

    name = "joining"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        if ctx.settings.public_url and ctx.client.access.ca:
            self.queue.add(INFO_NAME)

    async def reconcile(self, key: str) -> None:
        for gvr, obj in [*self._config_maps(), *_roles()]:
            await self._ensure(gvr, obj)

    def _config_maps(self) -> Iterator[tuple[GVR, Object]]:
        settings, access = self.ctx.settings, self.ctx.client.access
        assert access.ca is not None
        info = {INFO_KEY: cluster_info(settings.public_url, access.ca)}
        facts = {"podSubnet": settings.cluster_cidr, "serviceSubnet": settings.service_cidr}
        yield r.CONFIGMAPS, {"metadata": {"name": INFO_NAME, "namespace": INFO_NAMESPACE}, "data": info}
        yield r.CONFIGMAPS, {"metadata": {"name": CONFIG_NAME, "namespace": CONFIG_NAMESPACE}, "data": facts}

    async def _ensure(self, gvr: GVR, obj: Object) -> None:
        """Create it; of a ConfigMap that is there, the entries named here are set and the others left."""
        metadata = obj["metadata"]
        try:
            await self.ctx.client.create(gvr, obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            if gvr == r.CONFIGMAPS:
                change = {"data": obj["data"]}
                await self.ctx.client.patch(gvr, metadata["name"], change, metadata["namespace"])


def cluster_info(server: str, ca: bytes) -> str:
    """A kubeconfig with no user: what ``cluster-info`` holds."""
    cluster = {"certificate-authority-data": base64.b64encode(ca).decode(), "server": server}
    config = {
        "apiVersion": "v1",
        "clusters": [{"cluster": cluster, "name": ""}],
        "contexts": None,
        "current-context": "",
        "kind": "Config",
        "users": None,
    }
    return yaml.safe_dump(config)


def _roles() -> Iterator[tuple[GVR, Object]]:
    reads_info = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [INFO_NAME], "verbs": ["get"]}
    yield from _role("kubeadm:bootstrap-signer-clusterinfo", reads_info, INFO_NAMESPACE)
    yield _binding("kubeadm:bootstrap-signer-clusterinfo", "", ("User", ANONYMOUS), namespace=INFO_NAMESPACE)
    reads_config = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [CONFIG_NAME], "verbs": ["get"]}
    yield from _role("shim:nodes-config", reads_config, CONFIG_NAMESPACE)
    reads_keys = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["shim-certs"], "verbs": ["get"]}
    yield from _role("shim:masters", reads_keys, CONFIG_NAMESPACE)
    yield _binding("shim:masters", "", ("Group", MASTERS_GROUP), namespace=CONFIG_NAMESPACE)
    both = ("Group", NODES_GROUP), ("Group", NODES)
    yield _binding("shim:nodes-config", "", *both, namespace=CONFIG_NAMESPACE)
    yield from _role("kubeadm:get-nodes", {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]})
    yield _binding("kubeadm:get-nodes", "", both[0])
    yield _binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", both[0])
    yield _binding("kubeadm:node-autoapprove-bootstrap", f"{CSR}:nodeclient", both[0])
    yield _binding("kubeadm:node-autoapprove-certificate-rotation", f"{CSR}:selfnodeclient", both[1])
    ways = ["certificatesigningrequests/selfnodeserver", "certificatesigningrequests/netproxyclient"]
    asks = {"apiGroups": ["certificates.k8s.io"], "resources": ways, "verbs": ["create"]}
    yield from _role("shim:node-certificates", asks)
    yield _binding("shim:node-certificates", "", both[1])


def _role(name: str, rule: Object, namespace: str = "") -> Iterator[tuple[GVR, Object]]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    yield r.ROLES if namespace else r.CLUSTERROLES, {"metadata": metadata, "rules": [rule]}


def _binding(name: str, role: str, *subjects: tuple[str, str], namespace: str = "") -> tuple[GVR, Object]:
    """Binds a role of the same name, unless another is said."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return r.ROLEBINDINGS if namespace else r.CLUSTERROLEBINDINGS, {
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "Role" if namespace else "ClusterRole", "name": role or name},
        "subjects": [{"apiGroup": RBAC, "kind": kind, "name": subject} for kind, subject in subjects],
    }
