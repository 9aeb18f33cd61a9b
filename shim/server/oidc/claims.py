"""From the claims of a token to a user: by the name of a claim, or by an expression in CEL. Pure.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shim import cel
from shim.codec.configuration import mistyped
from shim.server.oidc.values import as_seen
from shim.server.users import AUTHENTICATED, User

Claims = Mapping[str, Any]

CLAIMS = cel.Environment({"claims": cel.map_of(cel.STRING, cel.DYN)})
_FIELDS = {
    "username": cel.Field(cel.STRING, "username"),
    "uid": cel.Field(cel.STRING, "uid"),
    "groups": cel.Field(cel.list_of(cel.STRING), "groups"),
    "extra": cel.Field(cel.map_of(cel.STRING, cel.list_of(cel.STRING)), "extra"),
}
USER = cel.Environment({"user": cel.struct("kubernetes.UserInfo", lambda: _FIELDS)})
_CREDENTIAL = "authentication.kubernetes.io/credential-id"


class TakesLong(Exception):
    """An expression costs more than it may; with more patience it would come to something."""


class BadClaims(Exception):
    """A token that makes no user; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: a claim (with something in front), or an expression. Neither: from nowhere."""

    claim: str = ""
    prefix: str = ""
    program: cel.Program | None = None
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must be so: an expression that is true, or a claim that is a certain text."""

    message: str = ""
    program: cel.Program | None = None
    expression: str = ""
    claim: str = ""
    value: str = ""


@dataclass(frozen=True)
class UserMapping:
    """How an authenticator makes a user."""

    username: Source
    groups: Source
    uid: Source
    extra: tuple[tuple[str, Source], ...]
    claim_rules: tuple[Rule, ...]
    user_rules: tuple[Rule, ...]

    @cached_property
    def computed(self) -> bool:
        """Whether any expression asks for claims."""
        sources = (self.username, self.groups, self.uid, *(source for _, source in self.extra))
        programs = [*(source.program for source in sources), *(rule.program for rule in self.claim_rules)]
        return any(program is not None for program in programs)

    def user(self, claims: Claims, limit: float = cel.CALL_LIMIT) -> User:
        """``limit``: what each expression may cost. Raises BadClaims, and TakesLong where a higher limit may help."""
        seen: Claims = as_seen(claims) if self.computed else claims
        name = self._name(claims, seen, limit)
        groups, uid = self._groups(claims, seen, limit), self._uid(claims, seen, limit)
        extra: dict[str, tuple[str, ...]] = {}
        if isinstance(claims.get("jti"), str) and claims["jti"]:
            extra[_CREDENTIAL] = (f"JTI={claims['jti']}",)
        for key, source in self.extra:
            value = _run(source, seen, "extra", limit)
            if values := _strings(value, f"extra claim expression: {source.expression}"):
                extra[key] = values
        for rule in self.claim_rules:
            _check_claim(rule, claims, seen, limit)
        shown = {"username": name, "uid": uid, "groups": list(groups), "extra": {k: list(v) for k, v in extra.items()}}
        for rule in self.user_rules:
            _check(rule, {"user": as_seen(shown)}, "user info validation rule", limit)
        if AUTHENTICATED not in groups:
            groups = (*groups, AUTHENTICATED)
        return User(name, groups, uid, extra)

    def _name(self, claims: Claims, seen: Claims, limit: float) -> str:
        source = self.username
        if source.program is not None:
            name = _run(source, seen, "username", limit)
            if not isinstance(name, str):
                raise BadClaims(
                    "oidc: error evaluating username claim expression: username claim expression must return a string"
                )
            if not name:
                raise BadClaims("oidc: empty username via CEL expression is not allowed")
            return name
        name = _text(claims, source.claim, "oidc: parse username claims")
        verified = claims.get("email_verified", True)
        if source.claim == "email" and verified is not True:
            if verified not in (False, None):
                raise BadClaims(f"oidc: parse 'email_verified' claim: {mistyped(verified, 'bool')}")
            raise BadClaims("oidc: email not verified")
        return source.prefix + name

    def _groups(self, claims: Claims, seen: Claims, limit: float) -> tuple[str, ...]:
        source = self.groups
        if source.program is not None:
            return _strings(_run(source, seen, "group", limit), "group claim expression")
        if not source.claim or source.claim not in claims:
            return ()
        value = claims[source.claim]
        groups = [value] if isinstance(value, str) else value or []
        if isinstance(groups, list) and all(isinstance(group, str | None) for group in groups):
            return tuple(source.prefix + (group or "") for group in groups)
        raise BadClaims(f"oidc: parse groups claim {json.dumps(source.claim)}: {mistyped(value, 'string')}")

    def _uid(self, claims: Claims, seen: Claims, limit: float) -> str:
        if self.uid.claim:
            return _text(claims, self.uid.claim, "oidc: parse uid claim")
        if self.uid.program is None:
            return ""
        uid = _run(self.uid, seen, "uid", limit)
        if not isinstance(uid, str):
            raise BadClaims("oidc: error evaluating uid claim expression: uid claim expression must return a string")
        return uid


def _check_claim(rule: Rule, claims: Claims, seen: Claims, limit: float) -> None:
    if rule.program is not None:
        _check(rule, {"claims": seen}, "claim validation expression", limit)
        return
    if rule.claim not in claims:
        raise BadClaims(f"oidc: required claim {rule.claim} not present in ID token")
    value = claims[rule.claim]
    if not isinstance(value, str | None):
        raise BadClaims(f"oidc: parse claim {rule.claim}: {mistyped(value, 'string')}")
    if (value or "") != rule.value:
        text = f"oidc: required claim {rule.claim} value does not match. Got = {value or ''}, want = {rule.value}"
        raise BadClaims(text)


def _check(rule: Rule, values: Mapping[str, Any], what: str, limit: float) -> None:
    assert rule.program is not None
    try:
        verdict = _value(rule.program, values, limit)
    except cel.CelError as error:
        raise BadClaims(
            f"oidc: error evaluating {what}: expression '{rule.expression}' resulted in error: {error}"
        ) from None
    if verdict is not True:
        text = f"validation expression '{rule.expression}' failed: {rule.message}"
        raise BadClaims(f"oidc: error evaluating {what}: {text}")


def _run(source: Source, claims: Claims, what: str, limit: float) -> Any:
    assert source.program is not None
    try:
        return _value(source.program, {"claims": claims}, limit)
    except cel.CelError as error:
        text = f"expression '{source.expression}' resulted in error: {error}"
        raise BadClaims(f"oidc: error evaluating {what} claim expression: {text}") from None


def _value(program: cel.Program, values: Mapping[str, Any], limit: float) -> Any:
    """Raises CelError and TakesLong."""
    try:
        return program.evaluate(values, limit).value
    except cel.OverBudget:
        if limit < cel.CALL_LIMIT:
            raise TakesLong from None
        raise


def _strings(value: Any, what: str) -> tuple[str, ...]:
    """A text or a list of texts; empty ones are left out."""
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        raise BadClaims(f"oidc: error evaluating {what}: expression must return a string or a list of strings")
    return tuple(each for each in values if each)


def _text(claims: Claims, name: str, what: str) -> str:
    if name not in claims:
        raise BadClaims(f"{what} {json.dumps(name)}: claim not present")
    value = claims[name]
    if not isinstance(value, str | None):
        raise BadClaims(f"{what} {json.dumps(name)}: {mistyped(value, 'string')}")
    return value or ""
