"""Whose signature is on a token of another issuer? Its keys are found by discovery, kept, and fetched anew when a
token names one that is not known.

Requests never wait for an issuer, but for the one case that they bring a token of a new key. How often an issuer is
asked is limited: a flood of tokens with invented keys asks it once in ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
import jwt

from shim.server.accounts import Refused
from shim.server.oidc.claims import BadClaims
from shim.server.oidc.config import JwtAuthenticator
from shim.server.users import User

log = logging.getLogger(__name__)

ALGORITHMS = tuple(f"{family}{size}" for family in ("RS", "ES", "PS") for size in (256, 384, 512))
RETRY = 10.0  # seconds between tries, until an issuer is found, and between questions for new keys
TIMEOUT = aiohttp.ClientTimeout(total=30)
KEPT = 4096  # users of tokens that were verified
NOT_BEFORE_LEEWAY = 300.0  # seconds, as upstream's library has it


class KeysUnknown(Exception):
    """A token names a key we have not: ask its issuer, and judge it again."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer


class Issuer:
    """One issuer's keys and tokens."""

    def __init__(self, config: JwtAuthenticator) -> None:
        self._config = config
        self._keys: dict[str, jwt.PyJWK] = {}
        self._known: dict[str, tuple[float, User]] = {}  # by token: when it ends, and whose it is
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return self._config.url

    async def run(self) -> None:
        """Find the issuer; returns once it was found."""
        while not self._keys:
            await self.refresh()
            if not self._keys:
                await asyncio.sleep(RETRY)

    async def refresh(self) -> None:
        """Fetch the keys; everyone who waits shares one request."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._fetch(), name=f"keys of {self.url}")
        await asyncio.shield(self._asking)

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def user(self, token: str) -> User | None:
        """Whose token this is; None when it is not of this issuer. Raises Refused and KeysUnknown."""
        if (known := self._known.get(token)) is not None:
            if time.time() >= known[0]:
                raise Refused(_expired(known[0]))
            return known[1]
        try:
            said = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        if said.get("iss") != self.url:
            return None
        if not self._keys:
            raise Refused("oidc: authenticator not initialized")
        claims = self._verified(token, header)
        try:
            user = self._config.mapping.user(claims)
        except BadClaims as error:
            raise Refused(str(error)) from None
        if len(self._known) >= KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[token] = float(claims["exp"]), user
        return user

    def _verified(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        algorithm, name = header.get("alg", ""), header.get("kid", "")
        keys = [self._keys[name]] if name in self._keys else [] if name else list(self._keys.values())
        if algorithm not in ALGORITHMS:
            raise Refused(
                f"oidc: verify token: oidc: malformed jwt: unexpected signature algorithm {json.dumps(algorithm)}"
            )
        if not keys and time.monotonic() > self._asked + RETRY:
            raise KeysUnknown(self)
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
        if self._config.audiences.isdisjoint(audiences):
            wanted, got = _listed(sorted(self._config.audiences)), _listed(audiences)
            raise Refused(f"oidc: verify token: oidc: expected audience in {wanted} got {got}")
        now, ends = time.time(), claims.get("exp")
        if not isinstance(ends, int | float) or now >= ends:
            raise Refused(_expired(ends if isinstance(ends, int | float) else 0.0))
        begins = claims.get("nbf")
        if isinstance(begins, int | float) and now + NOT_BEFORE_LEEWAY < begins:
            raise Refused("oidc: verify token: oidc: current time before the nbf (not before) time")

    async def _fetch(self) -> None:
        self._asked = time.monotonic()
        config = self._config
        where = config.discovery_url or config.url.rstrip("/") + "/.well-known/openid-configuration"
        context = ssl.create_default_context(cadata=config.ca or None)
        try:
            async with aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(ssl=context)) as session:
                found = await _json(session, where)
                if found.get("issuer") != config.url:
                    raise ValueError(f"{where} is of the issuer {found.get('issuer')!r}")
                keys = await _json(session, str(found["jwks_uri"]))
            usable = [each for each in keys["keys"] if each.get("use", "sig") == "sig"]
            self._keys = {key.key_id or str(number): key for number, key in enumerate(map(jwt.PyJWK, usable))}
            self._known.clear()  # a key that is gone has signed nothing
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            log.warning("issuer %s: %s", config.url, error or type(error).__name__)


_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}


async def _json(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url) as answer:
        if answer.status != 200:
            raise ValueError(f"{url} answers {answer.status}")
        found = await answer.json(content_type=None)
    if not isinstance(found, dict):
        raise ValueError(f"{url} answers no object")
    return found


def _expired(ends: float) -> str:
    shown = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    return f"oidc: verify token: oidc: token is expired (Token Expiry: {shown})"


def _listed(texts: Sequence[str]) -> str:
    return f"[{' '.join(map(json.dumps, texts))}]"
