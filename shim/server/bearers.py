"""Whose bearer token is this? Each kind of token is asked in turn; the first that knows it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from shim.api.status import unauthorized
from shim.server import bootstrap_tokens
from shim.server.accounts import Refused
from shim.server.oidc.issuer import Issuer
from shim.server.oidc.keys import Waiting
from shim.server.tokens import Tokens
from shim.server.users import User
from shim.store.cache import Cache

T = TypeVar("T")
Found = tuple[User, list[str]]
INVALID = "invalid bearer token"
_WAITS = 3  # for one request: a new key, and a claim that is elsewhere


async def settled(ask: Callable[[], T]) -> T:
    """What a question about a token comes to, once all is there that it needs. Raises 401 where it never is."""
    for _ in range(_WAITS):
        try:
            return ask()
        except Waiting as waiting:
            await waiting.settle()
    raise unauthorized()


class Bearers:
    """All kinds of bearer tokens this server believes."""

    def __init__(self, cache: Cache, tokens: Tokens, issuers: Sequence[Issuer] = ()) -> None:
        self._cache, self._tokens, self._issuers = cache, tokens, issuers

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom a token must be meant for, so that it is meant for this server."""
        return self._tokens.audiences

    def check(self, token: str, audiences: Sequence[str] = ()) -> Found:
        """The user, and for which of these audiences (else this server's) the token is.

        Raises Refused, with what each kind of token had to say, and Waiting.
        """
        wanted = audiences or self.audiences
        said = [INVALID]
        try:
            if (found := self._tokens.check(token, wanted)) is not None:
                return found
        except Refused as refusal:
            said.append(str(refusal))
        common = [audience for audience in wanted if audience in self.audiences]  # others name none: they are for us
        user = bootstrap_tokens.bearer(self._cache, token) if common else None
        for issuer in self._issuers if user is None else ():
            try:
                user = issuer.user(token)
            except Refused as refusal:
                said.append(str(refusal))
            if user is not None:
                break
        if user is None or not common:
            raise Refused(said[0] if len(said) == 1 else f"[{', '.join(said)}]")
        return user, common
