"""What may be said of an issuer in an authentication configuration. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from cryptography import x509

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import duplicate, invalid, required, shown

ANY = "MatchAny"
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2}).{0,2}")


def mistakes(issuer: Object, at: str, own: tuple[str, ...]) -> Iterator[FieldError]:
    """``own``: the server's own issuers, whose tokens are judged otherwise."""
    url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
    if not url:
        yield required(f"{at}.url")
    else:
        if url in own:
            text = f"URL must not overlap with disallowed issuers: [{' '.join(sorted(own))}]"
            yield invalid(f"{at}.url", url, text)
        yield from _url(url, f"{at}.url")
    if discovery:
        if url and discovery.rstrip("/") == url.rstrip("/"):
            yield invalid(f"{at}.discoveryURL", discovery, "discoveryURL must be different from URL")
        yield from _url(discovery, f"{at}.discoveryURL")
    yield from _audiences(issuer.get("audiences") or [], issuer.get("audienceMatchPolicy") or "", at)
    if authority := issuer.get("certificateAuthority"):
        yield from _authority(authority, f"{at}.certificateAuthority")
    if selector := issuer.get("egressSelectorType"):
        if selector not in ("controlplane", "cluster"):
            text = "egress selector must be either controlplane or cluster"
        else:  # upstream says so when it begins to ask the issuer
            text = "it needs an egress selector configuration, which is not built in this server"
        yield invalid(f"{at}.egressSelectorType", selector, text)


def _url(url: str, at: str) -> Iterator[FieldError]:
    try:
        parts = _parsed(url)
    except ValueError as error:
        yield invalid(at, url, f"parse {shown(url)}: {error}")
        return
    for wrong, text in (
        (parts.scheme != "https", "URL scheme must be https"),
        (parts.username is not None, "URL must not contain a username or password"),
        (bool(parts.query), "URL must not contain a query"),
        (bool(parts.fragment), "URL must not contain a fragment"),
    ):
        if wrong:
            yield invalid(at, url, text)


def _parsed(url: str) -> SplitResult:
    """Raises ValueError in Go's words."""
    if url.startswith(":"):
        raise ValueError("missing protocol scheme")
    if "://[" in url and "]" not in url:
        raise ValueError("missing ']' in host")
    parts = urlsplit(url)
    if " " in parts.netloc:
        raise ValueError('invalid character " " in host name')
    if wrong := _NO_ESCAPE.search(parts.netloc) or _NO_ESCAPE.search(parts.path):
        raise ValueError(f"invalid URL escape {shown(wrong[0])}")
    return parts


def _audiences(audiences: list[str], policy: str, at: str) -> Iterator[FieldError]:
    if not audiences:
        yield required(f"{at}.audiences", f"at least one {at}.audiences is required")
    for index, audience in enumerate(audiences):
        if not audience:
            yield required(f"{at}.audiences[{index}]")
        if audience in audiences[:index]:
            yield duplicate(f"{at}.audiences[{index}]", audience)
    if len(audiences) > 1 and policy != ANY:
        text = "audienceMatchPolicy must be MatchAny for multiple audiences"
        yield invalid(f"{at}.audienceMatchPolicy", policy, text)
    if len(audiences) == 1 and policy not in ("", ANY):
        text = "audienceMatchPolicy must be empty or MatchAny for single audience"
        yield invalid(f"{at}.audienceMatchPolicy", policy, text)


def _authority(pem: str, at: str) -> Iterator[FieldError]:
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        found = "-----BEGIN CERTIFICATE-----" in pem
        text = "x509: malformed certificate" if found else "data does not contain any valid RSA or ECDSA certificates"
        yield invalid(at, "<omitted>", text)
