"""``--authentication-config``: which issuers are believed, and where nobody may be nobody. Pure.

Upstream's AuthenticationConfiguration (https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/), refused
in upstream's words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from shim import cel
from shim.api.meta import Object
from shim.codec.configuration import ConfigurationError, read_configuration
from shim.server.oidc.claims import CLAIMS, USER, Rule, Source, UserMapping

_API_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_RESERVED = ("kubernetes.io", "k8s.io")


@dataclass(frozen=True, slots=True)
class JwtAuthenticator:
    """One issuer, and how its tokens make users."""

    url: str
    discovery_url: str
    ca: str
    audiences: frozenset[str]
    mapping: UserMapping


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Where a request without credentials is one of nobody: everywhere, nowhere, or on some paths."""

    enabled: bool = True
    paths: frozenset[str] | None = None

    def allows(self, path: str) -> bool:
        return self.enabled and (self.paths is None or path in self.paths)


@dataclass(frozen=True, slots=True)
class Authentication:
    issuers: tuple[JwtAuthenticator, ...] = ()
    anonymous: Anonymous | None = None


def read(text: str, own_issuers: tuple[str, ...] = ()) -> Authentication:
    """``own_issuers`` are the server's own, whose tokens are judged otherwise.

    Raises ConfigurationError; each line of its text is one thing that is wrong.
    """
    config = read_configuration(text, "AuthenticationConfiguration", _API_VERSIONS)
    reader = _Reader(own_issuers)
    found = reader.authentication(config)
    if reader.mistakes:
        raise ConfigurationError("\n".join(reader.mistakes))
    return found


class _Reader:
    """Reads the parts, and notes what is wrong with each."""

    def __init__(self, own_issuers: tuple[str, ...]) -> None:
        self._own = own_issuers
        self.mistakes: list[str] = []

    def authentication(self, config: Object) -> Authentication:
        self._only(config, "", "apiVersion", "kind", "metadata", "jwt", "anonymous")
        issuers = [self._authenticator(each, f"jwt[{index}]") for index, each in enumerate(config.get("jwt") or ())]
        for name in ("url", "discovery_url"):
            seen: set[str] = set()
            for index, each in enumerate(issuers):
                if (url := getattr(each, name)) and url in seen:
                    field = "url" if name == "url" else "discoveryURL"
                    self.mistakes.append(f"jwt[{index}].issuer.{field}: Duplicate value: {json.dumps(url)}")
                seen.add(url)
        return Authentication(tuple(issuers), self._anonymous(config.get("anonymous")))

    def _anonymous(self, said: Any) -> Anonymous | None:
        if said is None:
            return None
        self._only(said, "anonymous", "enabled", "conditions")
        enabled, conditions = bool(said.get("enabled")), said.get("conditions") or ()
        if conditions and not enabled:
            text = "enabled should be set to true when conditions are defined"
            self._invalid("anonymous.conditions", json.dumps(conditions), text)
        paths = frozenset(each.get("path", "") for each in conditions) if conditions else None
        return Anonymous(enabled, paths)

    def _authenticator(self, said: Object, at: str) -> JwtAuthenticator:
        self._only(said, at, "issuer", "claimValidationRules", "claimMappings", "userValidationRules")
        issuer, mappings = said.get("issuer") or {}, said.get("claimMappings") or {}
        self._issuer(issuer, f"{at}.issuer")
        rules = tuple(self._claim_rules(said.get("claimValidationRules") or (), f"{at}.claimValidationRules"))
        mapping = self._mapping(mappings, rules, said.get("userValidationRules") or (), at)
        return JwtAuthenticator(
            issuer.get("url") or "",
            issuer.get("discoveryURL") or "",
            issuer.get("certificateAuthority") or "",
            frozenset(issuer.get("audiences") or ()),
            mapping,
        )

    def _issuer(self, issuer: Object, at: str) -> None:
        fields = ("url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy")
        self._only(issuer, at, *fields)
        url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
        if not url:
            self.mistakes.append(f"{at}.url: Required value")
        else:
            if url in self._own:
                text = f"URL must not overlap with disallowed issuers: [{' '.join(self._own)}]"
                self._invalid(f"{at}.url", json.dumps(url), text)
            self._url(url, f"{at}.url")
        if discovery:
            if discovery.rstrip("/") == url.rstrip("/"):
                self._invalid(f"{at}.discoveryURL", json.dumps(discovery), "discoveryURL must be different from URL")
            self._url(discovery, f"{at}.discoveryURL")
        audiences, policy = issuer.get("audiences") or [], issuer.get("audienceMatchPolicy") or ""
        if not audiences:
            self.mistakes.append(f"{at}.audiences: Required value: at least one {at}.audiences is required")
        for index, audience in enumerate(audiences):
            if not audience:
                self.mistakes.append(f"{at}.audiences[{index}]: Required value")
            if audience in audiences[:index]:
                self.mistakes.append(f"{at}.audiences[{index}]: Duplicate value: {json.dumps(audience)}")
        if len(audiences) > 1 and policy != "MatchAny":
            text = "audienceMatchPolicy must be MatchAny for multiple audiences"
            self._invalid(f"{at}.audienceMatchPolicy", json.dumps(policy), text)
        if len(audiences) == 1 and policy not in ("", "MatchAny"):
            text = "audienceMatchPolicy must be empty or MatchAny for single audience"
            self._invalid(f"{at}.audienceMatchPolicy", json.dumps(policy), text)
        if authority := issuer.get("certificateAuthority"):
            try:
                x509.load_pem_x509_certificates(str(authority).encode())
            except ValueError as error:
                self._invalid(f"{at}.certificateAuthority", '"<omitted>"', str(error))

    def _url(self, url: str, at: str) -> None:
        parts = urlsplit(url)
        for wrong, text in (
            (parts.scheme != "https", "URL scheme must be https"),
            (parts.username is not None, "URL must not contain a username or password"),
            (bool(parts.query), "URL must not contain a query"),
            (bool(parts.fragment), "URL must not contain a fragment"),
        ):
            if wrong:
                self._invalid(at, json.dumps(url), text)

    def _claim_rules(self, rules: Any, at: str) -> Iterator[Rule]:
        for index, rule in enumerate(rules):
            here = f"{at}[{index}]"
            self._only(rule, here, "claim", "requiredValue", "expression", "message")
            claim, expression = rule.get("claim") or "", rule.get("expression") or ""
            if claim and expression:
                self._invalid(here, json.dumps(claim), "claim and expression can't both be set")
            elif not claim and not expression:
                self.mistakes.append(f"{here}: Required value: claim or expression is required")
            elif claim:
                if message := rule.get("message"):
                    self._invalid(f"{here}.message", json.dumps(message), "may not be specified when claim is set")
                yield Rule(claim=claim, value=rule.get("requiredValue") or "")
            else:
                if value := rule.get("requiredValue"):
                    text = "may not be specified when expression is set"
                    self._invalid(f"{here}.requiredValue", json.dumps(value), text)
                program = self._compile(CLAIMS, expression, f"{here}.expression", cel.BOOL)
                yield Rule(rule.get("message") or "", program, expression)

    def _mapping(self, said: Object, rules: tuple[Rule, ...], user_rules: Any, at: str) -> UserMapping:
        here = f"{at}.claimMappings"
        self._only(said, here, "username", "groups", "uid", "extra")
        username = self._source(said.get("username") or {}, f"{here}.username", cel.STRING, required=True)
        groups = self._source(said.get("groups") or {}, f"{here}.groups", cel.STRING, cel.list_of(cel.STRING))
        uid = self._source(said.get("uid") or {}, f"{here}.uid", cel.STRING, prefixed=False)
        extra = tuple(self._extra(said.get("extra") or (), f"{here}.extra"))
        expressions = [*(source.expression for _, source in extra), *(rule.expression for rule in rules)]
        verified = any("claims.email_verified" in text for text in (username.expression, *expressions))
        if "claims.email" in username.expression.replace("claims.email_verified", "") and not verified:
            text = (
                "claims.email_verified must be used in claimMappings.username.expression or "
                "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is "
                "used in claimMappings.username.expression"
            )
            self._invalid(f"{here}.username.expression", json.dumps(username.expression), text)
        found = tuple(self._user_rules(user_rules, f"{at}.userValidationRules"))
        return UserMapping(username, groups, uid, extra, rules, found)

    def _source(self, said: Object, at: str, *types: cel.Type, required: bool = False, prefixed: bool = True) -> Source:
        self._only(said, at, "claim", "expression", *(("prefix",) if prefixed else ()))
        claim, expression, prefix = said.get("claim") or "", said.get("expression") or "", said.get("prefix")
        if claim and expression:
            self._invalid(at, '""', "claim and expression can't both be set")
        elif expression:
            if prefix is not None:
                self._invalid(f"{at}.prefix", json.dumps(prefix), "prefix can't be set when expression is set")
            return Source("", "", self._compile(CLAIMS, expression, f"{at}.expression", *types), expression)
        elif claim:
            if prefixed and prefix is None:
                text = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
                self.mistakes.append(f"{at}.prefix: Required value: {text}")
            return Source(claim, prefix or "")
        elif required:
            self.mistakes.append(f"{at}: Required value: claim or expression is required")
        elif prefix is not None:
            self._invalid(f"{at}.prefix", json.dumps(prefix), "non-empty prefix is not allowed when claim is not set")
        return Source()

    def _extra(self, mappings: Any, at: str) -> Iterator[tuple[str, Source]]:
        seen: set[str] = set()
        for index, each in enumerate(mappings):
            here = f"{at}[{index}]"
            self._only(each, here, "key", "valueExpression")
            key, expression = each.get("key") or "", each.get("valueExpression") or ""
            domain, slash, rest = key.partition("/")
            if not key:
                self.mistakes.append(f"{here}.key: Required value")
            elif not (slash and domain and rest):
                text = 'must be a domain-prefixed path (such as "acme.io/foo")'
                self._invalid(f"{here}.key", json.dumps(key), text)
            if key != key.lower():
                self._invalid(f"{here}.key", json.dumps(key), "must be lowercase")
            if any(domain == each or domain.endswith(f".{each}") for each in _RESERVED):
                text = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
                self._invalid(f"{here}.key", json.dumps(key), text)
            if key in seen:
                self.mistakes.append(f"{here}.key: Duplicate value: {json.dumps(key)}")
            seen.add(key)
            if not expression:
                self.mistakes.append(f"{here}.valueExpression: Required value")
                continue
            types = cel.STRING, cel.list_of(cel.STRING)
            yield key, Source("", "", self._compile(CLAIMS, expression, f"{here}.valueExpression", *types), expression)

    def _user_rules(self, rules: Any, at: str) -> Iterator[Rule]:
        for index, rule in enumerate(rules):
            here = f"{at}[{index}]"
            self._only(rule, here, "expression", "message")
            expression = rule.get("expression") or ""
            if not expression:
                self.mistakes.append(f"{here}.expression: Required value: expression is required")
                continue
            program = self._compile(USER, expression, f"{here}.expression", cel.BOOL)
            yield Rule(rule.get("message") or "", program, expression)

    def _compile(self, environment: cel.Environment, text: str, at: str, *types: cel.Type) -> cel.Program | None:
        try:
            return environment.compile(text, *types)
        except cel.WrongType as error:
            self._invalid(at, json.dumps(text), str(error))
        except cel.CompileError as error:
            self._invalid(at, json.dumps(text), error.told)
        return None

    def _only(self, said: Any, at: str, *fields: str) -> None:
        if not isinstance(said, dict):
            self.mistakes.append(f"{at}: it is no object")
        elif unknown := sorted(set(said) - set(fields)):
            self.mistakes.append(f'unknown field "{f"{at}." if at else ""}{unknown[0]}"')

    def _invalid(self, at: str, value: str, text: str) -> None:
        self.mistakes.append(f"{at}: Invalid value: {value}: {text}")
