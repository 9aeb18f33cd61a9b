"""The keys an issuer of tokens signs with: found by discovery, kept, and fetched anew when a token names another.

Requests never wait for an issuer, but for the one case that they bring a token of a new key. How often an issuer is
asked is limited: a flood of tokens with invented keys asks it once in ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import string
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
import jwt

from shim.server.accounts import Refused

log = logging.getLogger(__name__)

ALGORITHMS = tuple(f"{family}{size}" for family in ("RS", "ES", "PS") for size in (256, 384, 512))
RETRY = 10.0  # seconds between tries, until an issuer is found, and between questions for new keys
TIMEOUT = aiohttp.ClientTimeout(total=30)
NOT_BEFORE_LEEWAY = 60.0  # seconds, as upstream's library has it
_BASE64 = frozenset(string.ascii_letters + string.digits + "-_")
_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}


class Waiting(Exception):
    """A token cannot be judged yet: ``settle`` what is missing, and judge it again."""

    def __init__(self, settle: Callable[[], Awaitable[None]]) -> None:
        self.settle = settle


class Keys:
    """The keys of one issuer, and whether a token is signed by one of them and meant for this audience."""

    def __init__(self, url: str, audiences: frozenset[str], *, ca: str = "", discovery_url: str = "") -> None:
        self.url, self.ca, self.audiences = url, ca, audiences
        self._discovery_url = discovery_url or url.rstrip("/") + "/.well-known/openid-configuration"
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def known(self) -> bool:
        return bool(self._keys)

    async def refresh(self) -> None:
        """Fetch the keys; everyone who waits shares one request."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._fetch(), name=f"keys of {self.url}")
        await asyncio.shield(self._asking)

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def verified(self, token: str) -> dict[str, Any]:
        """The claims of a token. Raises Refused, and Waiting where its key is not known."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise Refused(f"oidc: verify token: oidc: malformed jwt: {_unreadable(token) or error}") from None
        algorithm, name = header.get("alg", ""), header.get("kid", "")
        keys = [self._keys[name]] if name in self._keys else [] if name else list(self._keys.values())
        if algorithm not in ALGORITHMS:
            text = f"expected {_listed(sorted(ALGORITHMS))} got {json.dumps(algorithm)}"
            raise Refused(f"oidc: verify token: oidc: id token signed with unsupported algorithm, {text}")
        if not keys and time.monotonic() > self._asked + RETRY:
            raise Waiting(self.refresh)
        options: Any = {f"verify_{check}": False for check in ("aud", "exp", "nbf", "iat", "sub", "jti")}
        for key in keys:
            if key.key_type != _TYPES[algorithm[:2]]:
                continue
            try:
                claims: dict[str, Any] = jwt.decode(token, key.key, [algorithm], options=options)
            except jwt.PyJWTError:
                continue
            self._check(claims)
            return claims
        raise Refused("oidc: verify token: failed to verify signature: failed to verify id token signature")

    def _check(self, claims: dict[str, Any]) -> None:
        """Audience and times. Raises Refused."""
        given = claims.get("aud") or []
        audiences = [given] if isinstance(given, str) else given
        if self.audiences.isdisjoint(audiences):
            wanted = "audience " if len(self.audiences) == 1 else "audience in "
            wanted += _listed(sorted(self.audiences)).strip("[]" if len(self.audiences) == 1 else "")
            raise Refused(f"oidc: verify token: oidc: expected {wanted} got {_listed(audiences)}")
        now, ends, begins = time.time(), seconds(claims.get("exp")), seconds(claims.get("nbf"))
        if ends is None or now >= ends:
            raise Refused(expired(ends))
        if begins is not None and now + NOT_BEFORE_LEEWAY < begins:
            text = f"current time {_shown(now)} before the nbf (not before) time: {_shown(begins)}"
            raise Refused(f"oidc: verify token: oidc: {text}")

    async def _fetch(self) -> None:
        self._asked = time.monotonic()
        try:
            async with session(self.ca) as client:
                found = await _json(client, self._discovery_url)
                if found.get("issuer") != self.url:
                    raise ValueError(f"{self._discovery_url} is of the issuer {found.get('issuer')!r}")
                keys = await _json(client, str(found["jwks_uri"]))
            usable = [each for each in keys["keys"] if each.get("use", "sig") == "sig"]
            self._keys = {key.key_id or str(number): key for number, key in enumerate(map(jwt.PyJWK, usable))}
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            log.warning("issuer %s: %s", self.url, str(error) or type(error).__name__)


def session(ca: str) -> aiohttp.ClientSession:
    """For questions to an issuer, whose certificate this authority vouches for; "": those of the system."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=ca or None))
    return aiohttp.ClientSession(timeout=TIMEOUT, connector=connector)


def seconds(said: Any) -> float | None:
    """A time of a claim: a number, or a text that is one, as upstream's library takes it. None where it is none."""
    try:
        return float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else None
    except ValueError:
        return None


def expired(ends: float | None) -> str:
    return f"oidc: verify token: oidc: token is expired (Token Expiry: {_shown(ends)})"


def _shown(moment: float | None) -> str:
    """A time as Go prints it; none is the beginning of its calendar."""
    when = datetime.min if moment is None else datetime.fromtimestamp(moment, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S} +0000 UTC".rjust(29, "0")


def _unreadable(token: str) -> str:
    """Which part of a token is no base64, in Go's words; "" where all are."""
    for part in token.split("."):
        wrong = next((at for at, char in enumerate(part) if char not in _BASE64), len(part) // 4 * 4)
        if wrong < len(part) and (len(part) % 4 == 1 or part[wrong] not in _BASE64):
            return f"illegal base64 data at input byte {wrong}"
    return ""


async def _json(client: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with client.get(url) as answer:
        if answer.status != 200:
            raise ValueError(f"{url} answers {answer.status}")
        found = await answer.json(content_type=None)
    if not isinstance(found, dict):
        raise ValueError(f"{url} answers no object")
    return found


def _listed(texts: Sequence[str]) -> str:
    return f"[{' '.join(map(json.dumps, texts))}]"
