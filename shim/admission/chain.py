"""What happens to a write between decoding and validation: every admission plugin, in upstream's order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from shim.admission.certificates import CertificateApproval, CertificateSigning, CertificateSubjectRestriction
from shim.admission.limit_ranger import LimitRanger
from shim.admission.namespace_lifecycle import NamespaceLifecycle
from shim.admission.node_restriction import NodeRestriction
from shim.admission.node_taint import TaintNodesByCondition
from shim.admission.pod_resize import PodResizeValidator
from shim.admission.pod_security.plugin import PodSecurity
from shim.admission.pod_topology import PodTopologyLabels
from shim.admission.policies.mutating import MutatingAdmissionPolicy
from shim.admission.policies.validating import ValidatingAdmissionPolicy
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
from shim.api.timing import Histograms

__all__ = ["CONNECT", "CREATE", "DELETE", "PLUGINS", "UPDATE", "Chain", "Reader", "Request", "UnknownPlugin", "chosen"]

PLUGINS: tuple[type[Plugin], ...] = (
    NamespaceLifecycle,
    LimitRanger,
    ServiceAccount,
    NodeRestriction,
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
    PodTopologyLabels,
    PodResizeValidator,
    MutatingAdmissionPolicy,
    MutatingAdmissionWebhook,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
    ResourceQuota,  # last: it must count only what everyone else has let through
)
Act = Callable[[Request, Reader], Awaitable[None]]
MUTATE, VALIDATE = "admit", "validate"
"""The steps, as upstream's metrics call them."""
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
OFF: tuple[type[Plugin], ...] = (NodeRestriction, ExtendedResourceToleration)
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
        self._concerned: dict[tuple[str, str], dict[str, list[tuple[str, Act]]]] = {}
        self.timings = Histograms(_SECONDS)
        """How long plugins took, by name, step, operation and whether they refused."""
        self.steps = Histograms(_SECONDS)
        """How long all took together, by step, operation and whether one refused."""

    async def mutate(self, request: Request) -> list[str]:
        """Let every plugin change the request's object; returns texts for Warning headers.

        When a webhook changed it, all have a second look, once (KEP "admission webhooks to GA", reinvocation).
        """
        await self._each(MUTATE, request)
        if (again := request.reinvocation) is not None and again.wanted:
            again.round = 1
            await self._each(MUTATE, request)
        return request.warnings

    async def validate(self, request: Request) -> list[str]:
        """Let every plugin refuse the object as it will be stored; returns texts for Warning headers."""
        await self._each(VALIDATE, request)
        return request.warnings

    async def charge(self, request: Request) -> None:
        """Gather what else must change with this write. Whoever asked calls ``request.finish()`` after the write."""
        for plugin in self._charging:
            await plugin.charge(request, self._reader)

    async def admit(self, request: Request) -> list[str]:
        """Both, for writes whose object the server makes itself."""
        await self.mutate(request)
        return await self.validate(request)

    def counts(self) -> Iterator[tuple[str, Mapping[tuple[str, ...], int]]]:
        """What plugins have counted, by the names of the metrics."""
        for plugin in self._plugins:
            yield from plugin.counts.items()

    def durations(self) -> Iterator[tuple[str, Histograms]]:
        """What plugins have timed, by the names of the metrics."""
        for plugin in self._plugins:
            yield from plugin.durations.items()

    async def close(self) -> None:
        """Let go of connections."""
        for plugin in self._plugins:
            await plugin.close()

    async def _each(self, step: str, request: Request) -> None:
        """Ask plugins in turn, and remember how long each took."""
        name, operation, refused = "", request.operation, "true"
        began = last = time.perf_counter()
        try:
            for name, act in self._for(request)[step]:
                await act(request, self._reader)
                now = time.perf_counter()
                self.timings[name, step, operation, "false"].add(now - last)
                last = now
            refused = "false"
        finally:
            now = time.perf_counter()
            if refused == "true":
                self.timings[name, step, operation, refused].add(now - last)
            self.steps[step, operation, refused].add(now - began)

    def _for(self, request: Request) -> dict[str, list[tuple[str, Act]]]:
        """Step -> what plugins do in it to an object of this resource, with their names."""
        key = (request.resource.group, request.resource.name)
        found = self._concerned.get(key)
        if found is None:
            plugins = [plugin for plugin in self._plugins if not plugin.resources or key in plugin.resources]
            found = self._concerned[key] = {
                MUTATE: [_of(each, each.mutate) for each in plugins if type(each).mutate is not Plugin.mutate],
                VALIDATE: [_of(each, each.validate) for each in plugins if type(each).validate is not Plugin.validate],
            }
        return found


def _of(plugin: Plugin, act: Act) -> tuple[str, Act]:
    return type(plugin).__name__, act
