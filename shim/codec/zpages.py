"""How do a program's state and flags look to people, and to programs that ask for the structured form? Pure.

As KEP-4827 (statusz) and KEP-4828 (flagz) have it: text, or ``as=Statusz`` or ``as=Flagz`` of config.k8s.io.
"""

from __future__ import annotations

import dataclasses
import platform
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from shim.api.meta import Object
from shim.api.version import MAJOR, MINOR
from shim.codec import yamltext

ACCEPTED = "application/json, application/yaml, text/plain"
GO = f"python{platform.python_version()}"
_TEXT = "text/plain"
_STRUCTURED: dict[str, Callable[[Any], bytes]] = {"application/json": orjson.dumps, "application/yaml": yamltext.dumps}
_GROUP, _VERSIONS, _DEPRECATED = "config.k8s.io", ("v1alpha1", "v1beta1"), "v1alpha1"
_BINARY = f"{MAJOR}.{MINOR}"
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees "
    "and is for debugging purposes only."
)


class Page(NamedTuple):
    """An answer: its body and what it is; what to warn of, unless that is empty."""

    body: bytes
    media: str
    warning: str = ""


def status(name: str, began: int, paths: Sequence[str], accept: str) -> Page | None:
    """Of the part ``name``, running since ``began``; None when ``accept`` takes none of ACCEPTED."""
    content = {
        "startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "uptimeSeconds": max(0, int(time.time()) - began),
        "goVersion": GO,
        "binaryVersion": _BINARY,
        "emulationVersion": _BINARY,
        "paths": list(paths),
    }
    return _in_form(name, "Statusz", content, _status_text, accept)


def flags(name: str, values: Object, accept: str) -> Page | None:
    """``values``: as ``shown`` gives them. None as with ``status``."""
    return _in_form(name, "Flagz", {"flags": values}, _flags_text, accept)


def shown(settings: Any) -> dict[str, str]:
    """The flags that a dataclass of settings stands for, but for the password that the address of a store may hold."""
    return {each.name.replace("_", "-"): _shown(getattr(settings, each.name)) for each in dataclasses.fields(settings)}


def _in_form(name: str, kind: str, content: Object, text: Callable[[Object], str], accept: str) -> Page | None:
    """In the first form the client takes."""
    for part in (accept.strip() or _TEXT).split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        options = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media in (_TEXT, "text/*", "*/*"):
            return Page(f"\n{name} {kind.lower()}\n{_WARNING}\n{text(content)}".encode(), f"{_TEXT}; charset=utf-8")
        asked = (options.get("g"), options.get("as"))
        if media in _STRUCTURED and asked == (_GROUP, kind) and options.get("v") in _VERSIONS:
            version = options["v"]
            obj = {"kind": kind, "apiVersion": f"{_GROUP}/{version}", "metadata": {"name": name}, **content}
            old = f"This version of the {kind.lower()} endpoint is deprecated. Please use a newer version."
            media_type = f"{media};g={_GROUP};v={version};as={kind}"
            return Page(_STRUCTURED[media](obj), media_type, old if version == _DEPRECATED else "")
    return None


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
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return "" if value is None else re.sub("//[^@/]*@", "//***@", str(value))
