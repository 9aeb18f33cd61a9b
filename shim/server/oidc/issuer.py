"""Whose token is this, of an issuer other than this server? Its claims are verified, and made into a user."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial

from jwt.utils import base64url_decode

from shim.server.accounts import Refused
from shim.server.oidc import keys
from shim.server.oidc.claims import BadClaims, Claims, TakesLong
from shim.server.oidc.config import JwtAuthenticator
from shim.server.oidc.distributed import DistributedClaim
from shim.server.oidc.keys import Keys, Waiting, expired
from shim.server.users import User

KEPT = 4096  # users of tokens that were verified
KEPT_FOR = 10.0  # seconds a token is believed before it is verified again; upstream's
PATIENCE = 20_000.0  # what an expression may cost in the loop, about 20 ms; dearer ones are run beside it


class Issuer:
    """One issuer's tokens."""

    def __init__(self, config: JwtAuthenticator) -> None:
        self._config = config
        self._keys = Keys(config.url, config.audiences, ca=config.ca, discovery_url=config.discovery_url)
        groups = config.mapping.groups.claim
        self._elsewhere = DistributedClaim(groups, config.audiences, config.ca) if groups else None
        self._known: dict[str, tuple[float, float, User | BadClaims]] = {}
        """By token: until when it is believed, when it ends, and whose it is, or why it is nobody's."""

    @property
    def url(self) -> str:
        return self._config.url

    async def run(self) -> None:
        """Find the issuer; returns once it was found."""
        while not self._keys.known:
            await self._keys.refresh()
            if not self._keys.known:
                await asyncio.sleep(keys.RETRY)

    def close(self) -> None:
        self._keys.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    def user(self, token: str) -> User | None:
        """Whose token this is; None when it is not of this issuer. Raises Refused and Waiting."""
        now = time.time()
        if (known := self._known.get(token)) is not None:
            until, ends, user = known
            if now >= ends:
                raise Refused(expired(ends))
            if now < until:
                return _user(user)
        if issuer_of(token) != self.url:
            return None
        if not self._keys.known:
            raise Refused("oidc: authenticator not initialized")
        claims = self._keys.verified(token)
        if self._elsewhere is not None:
            claims = self._elsewhere.expanded(token, claims)
        try:
            user = self._config.mapping.user(claims, PATIENCE)
        except BadClaims as error:
            return _user(error)
        except TakesLong:
            raise Waiting(partial(self._consider, token, claims)) from None
        self._remember(token, claims, user)
        return user

    async def _consider(self, token: str, claims: Claims) -> None:
        """Find out whose a verified token is by expressions that would hold up everybody else."""
        try:
            found: User | BadClaims = await asyncio.to_thread(self._config.mapping.user, claims)
        except BadClaims as error:
            found = error
        self._remember(token, claims, found)

    def _remember(self, token: str, claims: Claims, user: User | BadClaims) -> None:
        if len(self._known) >= KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[token] = time.time() + KEPT_FOR, keys.seconds(claims["exp"]) or 0.0, user


def _user(found: User | BadClaims) -> User:
    """Raises Refused."""
    if isinstance(found, BadClaims):
        raise Refused(str(found)) from None
    return found


def issuer_of(token: str) -> str:
    """Who a token says it is from, which nothing has verified yet; "" where it says nothing that can be read."""
    parts = token.split(".")
    try:
        said = json.loads(base64url_decode(parts[1])) if len(parts) == 3 else {}
    except ValueError:
        return ""
    issuer = said.get("iss") if isinstance(said, dict) else None
    return issuer if isinstance(issuer, str) else ""
