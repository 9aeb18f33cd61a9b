"""Is the server well, and what is it? /healthz, /livez, /readyz and /version."""

from __future__ import annotations

import platform
import sys

import orjson
from aiohttp import web

from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.server.options import Query
from shim.server.responses import plain, respond

_CHECKS = {
    "/healthz": ("ping", "log", "etcd", "poststarthook/rbac/bootstrap-roles"),
    "/livez": ("ping", "log", "etcd", "poststarthook/rbac/bootstrap-roles"),
    "/readyz": ("ping", "log", "etcd", "informer-sync", "poststarthook/rbac/bootstrap-roles", "shutdown"),
}
"""Names of upstream's checks that have something to check here; ``etcd`` is the store."""


class Health:
    """Answers about health. ``store_error`` and ``stopping`` are set by who knows."""

    def __init__(self) -> None:
        self.stopping = False
        self.store_failed = False

    def answer(self, path: str, query: Query) -> web.Response | None:
        """The answer at a path of health, or None for any other path."""
        root, _, check = path.strip("/").partition("/")
        checks = _CHECKS.get(f"/{root}")
        if checks is None:
            return None
        if check and check not in checks:
            return None
        excluded = set(query.get("exclude", ()))
        failed = self._failed() - excluded
        wanted = (check,) if check else checks
        lines = [
            f"[+]{name} excluded: ok"
            if name in excluded
            else f"[{'-' if name in failed else '+'}]{name} " + ("failed: reason withheld" if name in failed else "ok")
            for name in wanted
        ]
        broken = failed & set(wanted)
        if broken:
            return plain("\n".join([*lines, f"{root} check failed", ""]), 500)
        if "verbose" in query:
            return plain("\n".join([*lines, f"{root} check passed", ""]))
        return plain("ok")

    def _failed(self) -> set[str]:
        return ({"etcd"} if self.store_failed else set()) | ({"shutdown"} if self.stopping else set())


def version() -> web.Response:
    """/version: which Kubernetes this is, and what it runs on."""
    fields = {
        "major": str(MAJOR),
        "minor": str(MINOR),
        "emulationMajor": str(MAJOR),
        "emulationMinor": str(MINOR),
        "minCompatibilityMajor": str(MAJOR),
        "minCompatibilityMinor": str(MINOR - 1),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name,
        "platform": f"linux/{'arm64' if platform.machine() == 'aarch64' else 'amd64'}",
    }
    return respond(orjson.dumps(fields))
