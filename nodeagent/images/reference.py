"""What does an image's name mean? ``busybox`` is ``docker.io/library/busybox:latest``. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from nodeagent.engine.contract import EngineError

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(_DOMAIN)
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidReference(EngineError, ValueError):
    """Not the name of an image."""


class Reference(NamedTuple):
    """A name in full. ``tag`` is "" when only a digest was given."""

    domain: str  # "docker.io", "localhost", "registry.local:5000"
    path: str  # "library/busybox"
    tag: str
    digest: str  # "sha256:..." or ""

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def tagged(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def pinned(self) -> str:
        return f"{self.repository}@{self.digest}"

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The name in full. Raises InvalidReference."""
    invalid = InvalidReference(f'invalid reference format: "{text}"')
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise invalid
    first, slash, remainder = rest.partition("/")
    if slash and (any(mark in first for mark in ".:[") or first == "localhost" or first != first.lower()):
        domain, path = first, remainder
    else:
        domain, path = "docker.io", rest
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise invalid
    if domain == "index.docker.io":
        domain = "docker.io"
    if not _HOST.fullmatch(domain) or not _PATH.fullmatch(path) or re.fullmatch(r"[0-9a-f]{64}", rest):
        raise invalid
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return Reference(domain, path, tag or ("" if digest else "latest"), digest)
