"""Who are pods that name nobody? Every namespace has a ServiceAccount called ``default``."""

from __future__ import annotations

from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

DEFAULT = "default"


class ServiceAccountController(Controller):
    """Makes the default account of each active namespace, and makes it again when it is deleted."""

    name = "serviceaccount"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.namespaces = ctx.informer(r.NAMESPACES)
        self.accounts = ctx.informer(r.SERVICEACCOUNTS)
        self.namespaces.on_change(self.namespace_changed)
        self.accounts.on_change(self.account_changed)

    def namespace_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(new["metadata"]["name"])

    def account_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None and old["metadata"]["name"] == DEFAULT:
            self.queue.add(old["metadata"]["namespace"])

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or is_terminating(namespace) or self.accounts.get(f"{key}/{DEFAULT}") is not None:
            return
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": key}}
        await create_in_namespace(self.ctx, r.SERVICEACCOUNTS, account)


def is_terminating(namespace: Object) -> bool:
    """Whether the namespace takes no new objects."""
    phase = (namespace.get("status") or {}).get("phase")
    return bool(phase == "Terminating" or namespace["metadata"].get("deletionTimestamp"))


async def create_in_namespace(ctx: Context, gvr: GVR, obj: Object) -> None:
    """Create what every namespace has; fine when it is there already, or when the namespace is going away."""
    try:
        await ctx.client.create(gvr, obj, obj["metadata"]["namespace"])
    except ApiError as error:
        causes = (error.details or {}).get("causes") or ()
        going = error.code == 404 or any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
        if error.reason != "AlreadyExists" and not going:
            raise
