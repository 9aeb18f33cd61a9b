"""What is this server, since when, and with which flags? /version for programs, /statusz and /flagz for people.

The latter two also answer programs that ask for the structured form (KEP-4827, KEP-4828): ``as=Statusz`` or
``as=Flagz`` of config.k8s.io in JSON or YAML.
"""

from __future__ import annotations

import dataclasses
import platform
import re
import sys
import time
from typing import Any

import orjson
from aiohttp import web

from shim.api.meta import Object
from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.codec import yamltext
from shim.server import errors
from shim.server.negotiation import JSON, YAML
from shim.server.responses import plain, prettify, respond
from shim.settings import ApiServerSettings

PATHS = ("/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version")
_TEXT = "text/plain"
_GROUP, _VERSIONS = "config.k8s.io", ("v1alpha1", "v1beta1")
_NAME = "apiserver"
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees "
    "and is for debugging purposes only."
)
_GO = f"python{platform.python_version()}"
_BINARY = f"{MAJOR}.{MINOR}"


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
        "goVersion": _GO,
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
        self._flags = {
            each.name.replace("_", "-"): _shown(getattr(settings, each.name)) for each in dataclasses.fields(settings)
        }

    def answer(self, path: str, accept: str) -> web.Response | None:
        """The answer at one of the two paths, or None for any other. Raises 406."""
        if path == "/statusz":
            return _in_form("Statusz", self._status(), _status_text, accept)
        if path == "/flagz":
            return _in_form("Flagz", {"flags": self._flags}, _flags_text, accept)
        return None

    def _status(self) -> Object:
        return {
            "startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "uptimeSeconds": int(time.time()) - self.began,
            "goVersion": _GO,
            "binaryVersion": _BINARY,
            "emulationVersion": _BINARY,
            "paths": list(PATHS),
        }


def _in_form(kind: str, content: Object, text: Any, accept: str) -> web.Response:
    """In the first form the client takes: text, or structured. Raises 406."""
    for part in (accept or _TEXT).split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        options = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media in (_TEXT, "text/*", "*/*"):
            return plain(f"\n{_NAME} {kind.lower()}\n{_WARNING}\n{text(content)}")
        asked = (options.get("g"), options.get("as"))
        if media in (JSON, YAML) and asked == (_GROUP, kind) and options.get("v") in _VERSIONS:
            version = options["v"]
            head = {"kind": kind, "apiVersion": f"{_GROUP}/{version}", "metadata": {"name": _NAME}}
            obj = {**head, **content}
            body = orjson.dumps(obj) if media == JSON else yamltext.dumps(obj)
            return respond(body, 200, f"{media};g={_GROUP};v={version};as={kind}")
    raise errors.no_such_rendering(f"{JSON}, {YAML}, {_TEXT}")


def _status_text(status: Object) -> str:
    minutes, seconds = divmod(status["uptimeSeconds"], 60)
    hours, minutes = divmod(minutes, 60)
    began = time.strptime(status["startTime"], "%Y-%m-%dT%H:%M:%SZ")
    return (
        f"\nStarted: {time.strftime('%a %b %e %H:%M:%S UTC %Y', began)}\n"
        f"Up: {hours} hr {minutes:02} min {seconds:02} sec\n"
        f"Go version: {status['goVersion']}\n"
        f"Binary version: {status['binaryVersion']}\n"
        f"Emulation version: {status['emulationVersion']}\n"
        f"Paths: {' '.join(status['paths'])}\n"
    )


def _flags_text(content: Object) -> str:
    return "".join(f"{name}={value}\n" for name, value in sorted(content["flags"].items()))


def _shown(value: Any) -> str:
    """A flag's value, but for the password that the address of a store may hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return "" if value is None else re.sub("//[^@/]*@", "//***@", str(value))
