"""A claim that another server knows: a token may say where to ask, and get a token of that server's in answer.

OpenID Connect Core 1.0, section 5.6.2: ``_claim_names`` names a source, ``_claim_sources`` its endpoint. As upstream,
only the claim that names groups is looked for there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import aiohttp
import jwt

from shim.server.accounts import Refused
from shim.server.oidc.keys import Keys, Waiting, session

_KEPT = 256  # answers that wait for their request, and issuers of such answers
_LONGEST = 1 << 20  # bytes of an answer


class _Source(NamedTuple):
    url: str
    access_token: str


class DistributedClaim:
    """One claim, wherever it is."""

    def __init__(self, name: str, audiences: frozenset[str], ca: str) -> None:
        self._name, self._audiences, self._ca = name, audiences, ca
        self._found: dict[str, Any] = {}  # by token: the claim's value, or Refused
        self._issuers: dict[str, Keys] = {}

    def expanded(self, token: str, claims: dict[str, Any]) -> dict[str, Any]:
        """A token's claims with this one, if it is elsewhere. Raises Refused, and Waiting where it must be asked."""
        if self._name in claims or "_claim_names" not in claims:
            return claims
        source = self._source(claims)
        if source is None:
            return claims
        if token not in self._found:
            raise Waiting(partial(self._ask, token, source))
        found = self._found.pop(token)
        if isinstance(found, Refused):
            raise found
        return {**claims, self._name: found}

    def close(self) -> None:
        for issuer in self._issuers.values():
            issuer.close()

    def _source(self, claims: Mapping[str, Any]) -> _Source | None:
        names, sources = claims["_claim_names"], claims.get("_claim_sources")
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise _refused("oidc: error parsing distributed claim names: it is no map of strings")
        if sources is None:
            raise _refused("oidc: no claim sources")
        if not isinstance(sources, dict) or not all(isinstance(source, dict) for source in sources.values()):
            raise _refused("oidc: could not parse claim sources: it is no map of objects")
        name = names.get(self._name)
        if name is None:
            return None
        if name not in sources:
            raise _refused(f"id token _claim_names contained a source {name} missing in _claims_sources")
        url = sources[name].get("endpoint") or ""  # without one, the claim is in the token, aggregated: not for us
        return _Source(str(url), str(sources[name].get("access_token") or "")) if url else None

    async def _ask(self, token: str, source: _Source) -> None:
        if len(self._found) >= _KEPT:
            self._found.clear()
        try:
            self._found[token] = await self._value(source)
        except Refused as refusal:
            self._found[token] = refusal

    async def _value(self, source: _Source) -> Any:
        """The value of the claim that is at an endpoint. Raises Refused."""
        answer = await self._fetch(source)
        try:
            issuer = str(jwt.decode(answer, options={"verify_signature": False}).get("iss") or "")
        except jwt.PyJWTError as error:
            text = f"getting untrusted issuer from endpoint {source.url} failed for claim {json.dumps(self._name)}"
            raise _refused(f"{text}: {error}") from None
        if issuer not in self._issuers and len(self._issuers) < _KEPT:
            self._issuers[issuer] = Keys(issuer, self._audiences, ca=self._ca)
        keys = self._issuers.get(issuer)
        if keys is not None and not keys.known:
            await keys.refresh()
        if keys is None or not keys.known:
            text = f"verifying untrusted issuer {issuer} failed"
            raise _refused(f"{text}: verifier not initialized for issuer: {json.dumps(issuer)}")
        try:
            claims = await _verified(keys, answer)
        except Refused as refusal:
            raise _refused(f"verify distributed claim token: {refusal}") from None
        if self._name not in claims:
            text = f"jwt returned by distributed claim endpoint {json.dumps(source.url)} did not contain claim"
            raise _refused(f"{text}: {self._name}")
        return claims[self._name]

    async def _fetch(self, source: _Source) -> str:
        headers = {"Authorization": f"Bearer {source.access_token}"} if source.access_token else {}
        while_ = f"while getting distributed claim {json.dumps(self._name)}"
        try:
            async with session(self._ca) as client, client.get(source.url, headers=headers) as answer:
                if answer.status != 200:
                    status = f"{answer.status} {answer.reason}"
                    raise _refused(f"{while_}: error while getting distributed claim JWT: {status}")
                return (await answer.content.read(_LONGEST)).decode(errors="replace").strip()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _refused(f"{while_}: {str(error) or type(error).__name__}") from None


async def _verified(keys: Keys, token: str) -> Mapping[str, Any]:
    try:
        return keys.verified(token)
    except Waiting as waiting:  # it is signed by a new key
        await waiting.settle()
    try:
        return keys.verified(token)
    except Waiting:
        raise Refused("oidc: verify token: failed to verify signature: failed to verify id token signature") from None


def _refused(why: str) -> Refused:
    return Refused(f"oidc: could not expand distributed claims: {why}")
