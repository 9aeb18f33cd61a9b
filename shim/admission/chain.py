"""What happens to a write between decoding and validation: every admission plugin, in upstream's order."""

from __future__ import annotations

from collections.abc import Iterable

from shim.admission.certificates import CertificateApproval, CertificateSigning, CertificateSubjectRestriction
from shim.admission.limit_ranger import LimitRanger
from shim.admission.namespace_lifecycle import NamespaceLifecycle
from shim.admission.node_taint import TaintNodesByCondition
from shim.admission.pod_security.plugin import PodSecurity
from shim.admission.priority import Priority
from shim.admission.request import CONNECT, CREATE, DELETE, UPDATE, Plugin, Reader, Request
from shim.admission.resource_quota import ResourceQuota
from shim.admission.runtime_class import RuntimeClass
from shim.admission.service_account import ServiceAccount
from shim.admission.storage_class import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from shim.admission.tolerations import DefaultTolerationSeconds, ExtendedResourceToleration
from shim.admission.webhooks.plugin import MutatingAdmissionWebhook, ValidatingAdmissionWebhook

__all__ = ["CONNECT", "CREATE", "DELETE", "PLUGINS", "UPDATE", "Chain", "Reader", "Request", "UnknownPlugin", "chosen"]

PLUGINS: tuple[type[Plugin], ...] = (
    NamespaceLifecycle,
    LimitRanger,
    ServiceAccount,
    TaintNodesByCondition,
    PodSecurity,
    Priority,
    DefaultTolerationSeconds,
    ExtendedResourceToleration,
    DefaultStorageClass,
    StorageObjectInUseProtection,
    PersistentVolumeClaimResize,
    RuntimeClass,
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    DefaultIngressClass,
    MutatingAdmissionWebhook,
    ValidatingAdmissionWebhook,
    ResourceQuota,  # last: it must count only what everyone else has let through
)
OFF: tuple[type[Plugin], ...] = (ExtendedResourceToleration,)
"""What must be asked for, as upstream."""


class UnknownPlugin(ValueError):
    """A plugin is asked for by a name that none has."""


def chosen(enable: Iterable[str] = (), disable: Iterable[str] = ()) -> tuple[Plugin, ...]:
    """The plugins that shall run, in their order; both arguments change what upstream does by default."""
    enable, disable = set(enable), set(disable)
    known = {plugin.__name__ for plugin in PLUGINS}
    for name in sorted((enable | disable) - known):
        raise UnknownPlugin(f'admission plugin "{name}" is unknown; known are {", ".join(sorted(known))}')
    return tuple(
        plugin()
        for plugin in PLUGINS
        if plugin.__name__ not in disable and (plugin not in OFF or plugin.__name__ in enable)
    )


class Chain:
    """Runs the plugins that care for a request's resource.

    A writer calls ``mutate`` before the strategy prepares and validates the object, ``validate`` after it, so that a
    client hears of a malformed object before it hears of a policy, and ``charge`` just before it writes; ``admit`` is
    the first two at once.
    """

    def __init__(self, reader: Reader, plugins: Iterable[Plugin] | None = None) -> None:
        self._reader = reader
        self._plugins = chosen() if plugins is None else tuple(plugins)
        self._charging = [plugin for plugin in self._plugins if type(plugin).charge is not Plugin.charge]
        self._concerned: dict[tuple[str, str], tuple[Plugin, ...]] = {}

    async def mutate(self, request: Request) -> list[str]:
        """Let every plugin change the request's object; returns texts for Warning headers.

        When a webhook changed it, all have a second look, once (KEP "admission webhooks to GA", reinvocation).
        """
        plugins = self._for(request)
        for plugin in plugins:
            await plugin.mutate(request, self._reader)
        if (again := request.reinvocation) is not None and again.wanted:
            again.round = 1
            for plugin in plugins:
                await plugin.mutate(request, self._reader)
        return request.warnings

    async def validate(self, request: Request) -> list[str]:
        """Let every plugin refuse the object as it will be stored; returns texts for Warning headers."""
        for plugin in self._for(request):
            await plugin.validate(request, self._reader)
        return request.warnings

    async def charge(self, request: Request) -> None:
        """Gather what else must change with this write. Whoever asked calls ``request.finish()`` after the write."""
        for plugin in self._charging:
            await plugin.charge(request, self._reader)

    async def admit(self, request: Request) -> list[str]:
        """Both, for writes whose object the server makes itself."""
        await self.mutate(request)
        return await self.validate(request)

    async def close(self) -> None:
        """Let go of connections."""
        for plugin in self._plugins:
            await plugin.close()

    def _for(self, request: Request) -> tuple[Plugin, ...]:
        key = (request.resource.group, request.resource.name)
        found = self._concerned.get(key)
        if found is None:
            found = tuple(plugin for plugin in self._plugins if not plugin.resources or key in plugin.resources)
            self._concerned[key] = found
        return found
