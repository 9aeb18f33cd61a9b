"""Kubernetes' functions on addresses of the web: ``url`` and ``isURL``, which takes what Go's package net/url takes."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_plus, unquote_to_bytes

from shim.api.gotext import go_quoted
from shim.cel.functions import Library, traversal
from shim.cel.network import takes
from shim.cel.values import CelError, Opaque

LIBRARY = Library()
_add = LIBRARY.add

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")
_HOST_ESCAPE = re.compile(r"%(?!25)[0-7].")  # a host escapes nothing that it may not contain, but its zone's sign
_PORT = re.compile(r"(:[0-9]*)?")
_PLAIN = frozenset(string.ascii_letters + string.digits + "-_.~")
_IN_HOST = _PLAIN | set("!$&'()*+,;=:[]<>\"")
_IN_USER = _PLAIN | set("-._:~!$&'()*+,;=%@")
_IN_PATH = _PLAIN | set("!$&'()*+,;=:@[]%/")


@dataclass(frozen=True)
class URL(Opaque):
    TYPE = "kubernetes.URL"
    scheme: str
    host: str
    path: str
    """As it was written, escapes and all."""
    query: str

    def _port_at(self) -> int:
        end = self.host.rfind("]")
        return self.host.rfind(":", end + 1)

    def hostname(self) -> str:
        at = self._port_at()
        return (self.host if at < 0 else self.host[:at]).strip("[]")

    def port(self) -> str:
        at = self._port_at()
        return "" if at < 0 else self.host[at + 1 :]

    def escaped_path(self) -> str:
        """As it was written, where nothing is wrong with that."""
        return self.path if _IN_PATH.issuperset(self.path) else quote(unquote_to_bytes(self.path), safe="/:@$&+,;=~")

    def values(self) -> dict[str, list[str]]:
        """Of the query; pairs that cannot be read are left out."""
        found: dict[str, list[str]] = {}
        for pair in self.query.split("&"):
            if pair and ";" not in pair and not _BAD_ESCAPE.search(pair):
                name, _, value = pair.partition("=")
                found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
        return found


def parse_url(text: str) -> URL:
    """An absolute URI, or an absolute path. Raises CelError."""
    try:
        _parsed(text, requested=True)  # which sees no fragment
        return _parsed(text.partition("#")[0], requested=False)
    except _Refused as why:
        raise CelError(f"URL parse error during conversion from string: parse {go_quoted(text)}: {why}") from None


class _Refused(ValueError):
    """Why a text is no URL."""


def _parsed(text: str, *, requested: bool) -> URL:
    """In Go's order; ``requested``: as it may stand in the first line of a request."""
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise _Refused("net/url: invalid control character in URL")
    if not text:
        raise _Refused("empty url")
    if text == "*":
        return URL("", "", text, "")
    if text.startswith(":"):
        raise _Refused("missing protocol scheme")
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    rest, _, query = text[match.end() if match else 0 :].partition("?")
    if not rest.startswith("/"):
        if scheme:
            return URL(scheme, "", "", query)  # and something opaque
        raise _Refused("invalid URI for request")
    host = ""
    if rest.startswith("//") and (scheme or not (requested or rest.startswith("///"))):
        authority, slash, path = rest[2:].partition("/")
        host, rest = _host(authority), slash + path
    if wrong := _BAD_ESCAPE.search(rest):
        raise _Refused(f"invalid URL escape {go_quoted(wrong[0])}")
    return URL(scheme, host, rest, query)


def _host(authority: str) -> str:
    user, _, host = authority.rpartition("@")
    if host.startswith("[") and "]" not in host:
        raise _Refused("missing ']' in host")
    at = host.rfind("]") + 1 if host.startswith("[") else host.rfind(":")
    port = host[at:] if at >= 0 else ""
    if not _PORT.fullmatch(port):
        raise _Refused(f"invalid port {go_quoted(port)} after host")
    if wrong := _BAD_ESCAPE.search(host) or _HOST_ESCAPE.search(host):
        raise _Refused(f"invalid URL escape {go_quoted(wrong[0])}")
    for char in host:
        if char < "\x80" and char not in _IN_HOST and char != "%":
            raise _Refused(f"invalid character {go_quoted(char)} in host name")
    if not _IN_USER.issuperset(user):
        raise _Refused("net/url: invalid userinfo")
    return unquote(host)


_add("url", "string -> kubernetes.URL", parse_url, cost=traversal(0))
_add("isURL", "string -> bool", takes(parse_url), cost=traversal(0))
_add("getScheme", "kubernetes.URL -> string", lambda url: url.scheme, member=True)
_add("getHost", "kubernetes.URL -> string", lambda url: url.host, member=True)
_add("getHostname", "kubernetes.URL -> string", URL.hostname, member=True)
_add("getPort", "kubernetes.URL -> string", URL.port, member=True)
_add("getEscapedPath", "kubernetes.URL -> string", URL.escaped_path, member=True)
_add("getQuery", "kubernetes.URL -> map(string, list(string))", URL.values, member=True)
