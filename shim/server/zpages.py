"""What is this server, since when, and with which flags? /version for programs, /statusz and /flagz for people too."""

from __future__ import annotations

import platform
import sys
import time

import orjson
from aiohttp import web

from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.codec import zpages
from shim.server import errors
from shim.server.responses import prettify, respond
from shim.settings import ApiServerSettings

PATHS = ("/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version")
_NAME = "apiserver"


def version() -> web.Response:
    """Which Kubernetes this is, and what it runs on."""
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
        "goVersion": zpages.GO,
        "compiler": sys.implementation.name,
        "platform": f"linux/{'arm64' if platform.machine() == 'aarch64' else 'amd64'}",
    }
    response = respond(orjson.dumps(fields))
    prettify(response)  # the one document that upstream indents whoever asks
    return response


class ZPages:
    """Answers /statusz and /flagz."""

    def __init__(self, settings: ApiServerSettings) -> None:
        self.began = int(time.time())
        self._flags = zpages.shown(settings)

    def answer(self, path: str, accept: str) -> web.Response | None:
        """The answer at one of the two paths, or None for any other. Raises 406."""
        if path == "/statusz":
            page = zpages.status(_NAME, self.began, PATHS, accept)
        elif path == "/flagz":
            page = zpages.flags(_NAME, self._flags, accept)
        else:
            return None
        if page is None:
            raise errors.no_such_rendering(zpages.ACCEPTED)
        return respond(page.body, 200, page.media, [page.warning] if page.warning else [])
