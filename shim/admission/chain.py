"""What happens to a write between decoding and validation: every admission plugin, in upstream's order."""

from __future__ import annotations

from shim.admission.limit_ranger import LimitRanger
from shim.admission.namespace_lifecycle import NamespaceLifecycle
from shim.admission.node_taint import TaintNodesByCondition
from shim.admission.priority import Priority
from shim.admission.request import CONNECT, CREATE, DELETE, UPDATE, Plugin, Reader, Request
from shim.admission.resource_quota import ResourceQuota
from shim.admission.runtime_class import RuntimeClass
from shim.admission.service_account import ServiceAccount
from shim.admission.storage_class import DefaultIngressClass, DefaultStorageClass
from shim.admission.tolerations import DefaultTolerationSeconds

__all__ = ["CONNECT", "CREATE", "DELETE", "PLUGINS", "UPDATE", "Chain", "Reader", "Request"]

PLUGINS: tuple[Plugin, ...] = (
    NamespaceLifecycle(),
    LimitRanger(),
    ServiceAccount(),
    TaintNodesByCondition(),
    Priority(),
    DefaultTolerationSeconds(),
    DefaultStorageClass(),
    RuntimeClass(),
    DefaultIngressClass(),
    ResourceQuota(),  # last: it must count only what everyone else has let through
)


class Chain:
    """Runs the plugins that care for a request's resource.

    A writer calls ``mutate`` before the strategy prepares and validates the object and ``validate`` after it,
    so that a client hears of a malformed object before it hears of a quota; ``admit`` is both at once.
    """

    def __init__(self, reader: Reader, plugins: tuple[Plugin, ...] = PLUGINS) -> None:
        self._reader = reader
        self._plugins = plugins
        self._concerned: dict[tuple[str, str], tuple[Plugin, ...]] = {}

    async def mutate(self, request: Request) -> list[str]:
        """Let every plugin change the request's object; returns texts for Warning headers."""
        for plugin in self._for(request):
            await plugin.mutate(request, self._reader)
        return request.warnings

    async def validate(self, request: Request) -> list[str]:
        """Let every plugin refuse the object as it will be stored; returns texts for Warning headers."""
        for plugin in self._for(request):
            await plugin.validate(request, self._reader)
        return request.warnings

    async def admit(self, request: Request) -> list[str]:
        """Both, for writes whose object the server makes itself."""
        await self.mutate(request)
        return await self.validate(request)

    def _for(self, request: Request) -> tuple[Plugin, ...]:
        key = (request.resource.group, request.resource.name)
        found = self._concerned.get(key)
        if found is None:
            found = tuple(plugin for plugin in self._plugins if not plugin.resources or key in plugin.resources)
            self._concerned[key] = found
        return found
