"""How do pods verify the API server? Every namespace has the cluster's certificate in ``kube-root-ca.crt``."""

from __future__ import annotations

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.loop import Context, Controller
from shim.controllers.service_accounts import create_in_namespace, is_terminating

NAME = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
    "Kubernetes clusters."
)


class RootCaController(Controller):
    """Keeps the ConfigMap in each active namespace equal to the certificate."""

    name = "root-ca-certificate-publisher"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        file = ctx.settings.root_ca_file
        # without a file: what this very client trusts
        self.certificate = file.read_text() if file is not None else (ctx.client.access.ca or b"").decode()
        self.namespaces = ctx.informer(r.NAMESPACES)
        self.config_maps = ctx.informer(r.CONFIGMAPS)
        if self.certificate:
            self.namespaces.on_change(self.namespace_changed)
            self.config_maps.on_change(self.config_map_changed)

    def namespace_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(new["metadata"]["name"])

    def config_map_changed(self, old: Object | None, new: Object | None) -> None:
        config_map = new or old
        if old is not None and config_map is not None and config_map["metadata"]["name"] == NAME:
            self.queue.add(config_map["metadata"]["namespace"])

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or is_terminating(namespace):
            return
        data = {"ca.crt": self.certificate}
        annotations = {"kubernetes.io/description": DESCRIPTION}
        found = self.config_maps.get(f"{key}/{NAME}")
        if found is None:
            metadata = {"name": NAME, "namespace": key, "annotations": annotations}
            config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await create_in_namespace(self.ctx, r.CONFIGMAPS, config_map)
        elif found.get("data") != data or not annotations.items() <= found["metadata"].get("annotations", {}).items():
            metadata = found["metadata"]
            merged = {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}}
            await self.ctx.client.update(r.CONFIGMAPS, {**found, "metadata": merged, "data": data})
