"""Is the server well? /healthz, /livez and /readyz, their single checks, and the same as numbers at /metrics/slis.

Upstream's checks tell whether each of the things has begun that a server does beside answering. They have begun here
before the first answer goes out; what may still happen is that one of them ends, and then its checks fail.
"""

from __future__ import annotations

import json
import time
from asyncio import Task
from collections.abc import Callable, Iterator, Mapping, MutableMapping

from aiohttp import web

from shim.server.options import Query
from shim.server.responses import plain

STORE, CERTIFICATE, STOPPING, ALWAYS = "the store", "the serving certificate", "shutdown", ""
BOOTSTRAP = "the objects of every cluster"
ROLES = "roles"
MASTERS = "the kubernetes Service and the leases of masters"
SERVICE_NETWORK = "the default ServiceCIDR"
REPAIR = "repair of allocations"
FAIRNESS = "priority levels and FlowSchemas"
CUSTOM = "custom resources"
EXTENSIONS = "extension servers"
"""What can be well or not. All but the first line is begun by :mod:`shim.server.app`, which calls it so."""

_HOOKS = {
    "start-apiserver-admission-initializer": BOOTSTRAP,
    "generic-apiserver-start-informers": STORE,
    "priority-and-fairness-config-consumer": FAIRNESS,
    "priority-and-fairness-filter": FAIRNESS,
    "storage-object-count-tracker-hook": STORE,
    "start-apiextensions-informers": CUSTOM,
    "start-apiextensions-controllers": CUSTOM,
    "crd-informer-synced": CUSTOM,
    "start-system-namespaces-controller": BOOTSTRAP,
    "peer-endpoint-reconciler-controller": MASTERS,
    "start-cluster-authentication-info-controller": EXTENSIONS,
    "start-kube-apiserver-identity-lease-controller": MASTERS,
    "start-kube-apiserver-identity-lease-garbage-collector": MASTERS,
    "storage-readiness": STORE,
    "start-legacy-token-tracking-controller": BOOTSTRAP,
    "start-service-ip-repair-controllers": REPAIR,
    "rbac/bootstrap-roles": ROLES,
    "scheduling/bootstrap-system-priority-classes": BOOTSTRAP,
    "priority-and-fairness-config-producer": FAIRNESS,
    "bootstrap-controller": MASTERS,
    "start-kubernetes-service-cidr-controller": SERVICE_NETWORK,
    "start-kube-aggregator-informers": EXTENSIONS,
    "apiservice-status-local-available-controller": EXTENSIONS,
    "apiservice-status-remote-available-controller": EXTENSIONS,
    "apiservice-registration-controller": EXTENSIONS,
    "apiservice-wait-for-first-sync": EXTENSIONS,
    "apiservice-discovery-controller": EXTENSIONS,
    "kube-apiserver-autoregistration": EXTENSIONS,
    "apiservice-openapi-controller": EXTENSIONS,
    "apiservice-openapiv3-controller": EXTENSIONS,
}
"""Upstream's hooks, in the order in which it shows them -> what they stand for here."""


def _begun() -> Iterator[tuple[str, str]]:
    for hook, work in _HOOKS.items():
        yield f"poststarthook/{hook}", work
        if hook == "kube-apiserver-autoregistration":
            yield "autoregister-completion", work


_FIRST = {"ping": ALWAYS, "log": ALWAYS}  # a server that cannot write its log does not answer either
CHECKS: Mapping[str, Mapping[str, str]] = {
    "healthz": {**_FIRST, "loopback-serving-certificate": CERTIFICATE, "etcd": STORE, **dict(_begun())},
    "livez": {**_FIRST, "loopback-serving-certificate": CERTIFICATE, "etcd": STORE, **dict(_begun())},
    "readyz": {
        **_FIRST,
        "etcd": STORE,
        "etcd-readiness": STORE,
        "informer-sync": STORE,
        **dict(_begun()),
        "shutdown": STOPPING,
    },
}
"""Names of upstream's checks, in its order -> what of this server has to be well."""
PATHS = tuple(f"/{root}{f'/{check}' if check else ''}" for root, checks in CHECKS.items() for check in ("", *checks))
_NO_GUESSING = {"X-Content-Type-Options": "nosniff"}  # as Go's own error pages and the probes have it


class Health:
    """Answers about health.

    ``store`` says whether the store answers, ``stopping`` is set by who knows, ``expires`` is when the certificate
    does (seconds since the epoch). ``works`` has the task of everything that was begun, or None where nothing is
    left to do.
    """

    def __init__(self, store: Callable[[], bool], *, fair: bool = True) -> None:
        """``fair``: whether requests take turns by priority and fairness; there is nothing to check otherwise."""
        self._checks = CHECKS if fair else _without(FAIRNESS)
        self.stopping = False
        self.expires = float("inf")
        self.works: MutableMapping[str, Task[None] | None] = {}
        self._store = store

    def answer(self, path: str, query: Query) -> web.Response | None:
        """The answer at a path of health, or None for any other path."""
        root, slash, check = path[1:].partition("/")
        checks = self._checks.get(root)
        if checks is None or (slash and check not in checks):
            return None
        if check:
            return (
                plain("ok") if self._is_well(checks[check]) else plain(f"internal server error: {check} failed\n", 500)
            )
        excluded = set(query.get("exclude", ()))
        failed = {name for name, work in checks.items() if name not in excluded and not self._is_well(work)}
        lines = [_line(name, name in failed, name in excluded) for name in checks]
        if unknown := sorted(excluded - checks.keys()):
            quoted = ",".join(json.dumps(name, ensure_ascii=False) for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
        if failed:
            response = plain("\n".join([*lines, f"{root} check failed", ""]), 500)
        elif "verbose" in query:
            response = plain("\n".join([*lines, f"{root} check passed", ""]))
        else:
            response = plain("ok")
        response.headers.update(_NO_GUESSING)
        return response

    def results(self) -> Iterator[tuple[str, str, int]]:
        """Of every check: its name, the root it belongs to, and 1 where it passes."""
        for root, checks in self._checks.items():
            for check, work in checks.items():
                yield check, root, int(self._is_well(work))

    def _is_well(self, work: str) -> bool:
        if work == STORE:
            return self._store()
        if work == STOPPING:
            return not self.stopping
        if work == CERTIFICATE:
            return time.time() < self.expires
        if work == ALWAYS:
            return True
        return work in self.works and ((task := self.works[work]) is None or not task.done())


def _without(work: str) -> dict[str, dict[str, str]]:
    return {root: {name: asked for name, asked in checks.items() if asked != work} for root, checks in CHECKS.items()}


def _line(name: str, failed: bool, excluded: bool) -> str:
    if excluded:
        return f"[+]{name} excluded: ok"
    return f"[-]{name} failed: reason withheld" if failed else f"[+]{name} ok"
