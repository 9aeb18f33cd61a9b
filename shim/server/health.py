"""Is the server well? /healthz, /livez and /readyz, their single checks, and the same as numbers at /metrics/slis."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aiohttp import web

from shim.server.options import Query
from shim.server.responses import plain

_ALWAYS = ("ping", "log")
_STARTED = tuple(
    f"poststarthook/{name}"
    for name in (
        "crd-informer-synced",
        "start-system-namespaces-controller",
        "rbac/bootstrap-roles",
        "scheduling/bootstrap-system-priority-classes",
        "priority-and-fairness-config-producer",
        "bootstrap-controller",
        "start-kubernetes-service-cidr-controller",
    )
)
"""What upstream does after it has begun to serve, and this server before: that it answers means it is done."""
CHECKS = {
    "healthz": (*_ALWAYS, "etcd", *_STARTED),
    "livez": (*_ALWAYS, "etcd", *_STARTED),
    "readyz": (*_ALWAYS, "etcd", "informer-sync", *_STARTED, "shutdown"),
}
"""Names of upstream's checks that have something to check here; ``etcd`` is the store."""
PATHS = tuple(f"/{root}{f'/{check}' if check else ''}" for root, checks in CHECKS.items() for check in ("", *checks))
_NO_GUESSING = {"X-Content-Type-Options": "nosniff"}  # as Go's own error pages and the probes have it


class Health:
    """Answers about health. ``stopping`` is set by who knows; ``store`` says whether the store answers."""

    def __init__(self, store: Callable[[], bool]) -> None:
        self.stopping = False
        self._store = store

    def answer(self, path: str, query: Query) -> web.Response | None:
        """The answer at a path of health, or None for any other path."""
        root, slash, check = path[1:].partition("/")
        checks = CHECKS.get(root)
        if checks is None or (slash and check not in checks):
            return None
        failed = self._failed()
        if check:
            return plain(f"internal server error: {check} failed\n", 500) if check in failed else plain("ok")
        excluded = set(query.get("exclude", ()))
        lines = [_line(name, name in failed, name in excluded) for name in checks]
        if unknown := [name for name in query.get("exclude", ()) if name and name not in checks]:
            quoted = ",".join(f'"{name}"' for name in dict.fromkeys(unknown))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
        if failed & set(checks) - excluded:
            response = plain("\n".join([*lines, f"{root} check failed", ""]), 500)
        elif "verbose" in query:
            response = plain("\n".join([*lines, f"{root} check passed", ""]))
        else:
            response = plain("ok")
        response.headers.update(_NO_GUESSING)
        return response

    def results(self) -> Iterator[tuple[str, str, int]]:
        """Of every check: its name, the root it belongs to, and 1 where it passes."""
        failed = self._failed()
        for root, checks in CHECKS.items():
            for check in checks:
                yield check, root, int(check not in failed)

    def _failed(self) -> set[str]:
        return (set() if self._store() else {"etcd"}) | ({"shutdown"} if self.stopping else set())


def _line(name: str, failed: bool, excluded: bool) -> str:
    if excluded:
        return f"[+]{name} excluded: ok"
    return f"[-]{name} failed: reason withheld" if failed else f"[+]{name} ok"
