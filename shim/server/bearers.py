"""Whose bearer token is this? Each kind of token is asked in turn; the first that knows it answers."""

from __future__ import annotations

from collections.abc import Sequence

from shim.server import bootstrap_tokens
from shim.server.tokens import AUDIENCES, Tokens
from shim.server.users import User
from shim.store.cache import Cache


class Bearers:
    """All kinds of bearer tokens this server believes."""

    def __init__(self, cache: Cache, tokens: Tokens) -> None:
        self._cache, self._tokens = cache, tokens

    def check(self, token: str, audiences: Sequence[str] = AUDIENCES) -> tuple[User, list[str]] | None:
        """The user, and for which of these audiences the token is; None when it is not (or no longer) good."""
        if (found := self._tokens.check(token, audiences)) is not None:
            return found
        user = bootstrap_tokens.bearer(self._cache, token)
        common = [audience for audience in audiences if audience in AUDIENCES]  # it names none: it is for this server
        return (user, common) if user is not None and common else None
