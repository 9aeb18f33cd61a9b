"""``--authentication-config``: which issuers are believed, and where nobody may be nobody. Pure.

Upstream's AuthenticationConfiguration (https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/), refused
in upstream's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shim import cel
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.cel.tree import Ident, Node, Select, walk
from shim.codec.configuration import BOOL, STRING, STRINGS, ListOf, Scalar, Struct, read_configuration, refuse
from shim.resources.causes import as_go, domain_prefixed_path, duplicate, invalid, required, too_many
from shim.server.oidc import issuer_checks
from shim.server.oidc.claims import CLAIMS, USER, Rule, Source, UserMapping

_API_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_RESERVED = ("kubernetes.io", "k8s.io")
_MOST = 64  # issuers
_MATCH, _EGRESS = Scalar(str, "v1.AudienceMatchPolicyType"), Scalar(str, "v1.EgressSelectorType")
_PREFIXED = Struct("v1.PrefixedClaimOrExpression", {"claim": STRING, "prefix": STRING, "expression": STRING})
_CLAIM = Struct("v1.ClaimOrExpression", {"claim": STRING, "expression": STRING})
_EXTRA = Struct("v1.ExtraMapping", {"key": STRING, "valueExpression": STRING})
_AUTHENTICATOR = Struct(
    "v1.JWTAuthenticator",
    {
        "issuer": Struct(
            "v1.Issuer",
            {
                "url": STRING,
                "discoveryURL": STRING,
                "certificateAuthority": STRING,
                "audiences": STRINGS,
                "audienceMatchPolicy": _MATCH,
                "egressSelectorType": _EGRESS,
            },
        ),
        "claimValidationRules": ListOf(
            Struct(
                "v1.ClaimValidationRule",
                {"claim": STRING, "requiredValue": STRING, "expression": STRING, "message": STRING},
            )
        ),
        "claimMappings": Struct(
            "v1.ClaimMappings",
            {"username": _PREFIXED, "groups": _PREFIXED, "uid": _CLAIM, "extra": ListOf(_EXTRA)},
        ),
        "userValidationRules": ListOf(Struct("v1.UserValidationRule", {"expression": STRING, "message": STRING})),
    },
)
_ANONYMOUS = Struct(
    "v1.AnonymousAuthConfig",
    {"enabled": BOOL, "conditions": ListOf(Struct("v1.AnonymousAuthCondition", {"path": STRING}))},
)
_CONFIGURATION = Struct(
    "v1.AuthenticationConfiguration",
    {"apiVersion": STRING, "kind": STRING, "metadata": None, "jwt": ListOf(_AUTHENTICATOR), "anonymous": _ANONYMOUS},
)


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
    config = read_configuration(text, "AuthenticationConfiguration", _API_VERSIONS, _CONFIGURATION)
    reader = _Reader(own_issuers)
    found = reader.authentication(config)
    refuse(reader.mistakes)
    return found


class _Reader:
    """Reads the parts, and notes what is wrong with each."""

    def __init__(self, own_issuers: tuple[str, ...]) -> None:
        self._own = own_issuers
        self.mistakes: list[FieldError] = []

    def authentication(self, config: Object) -> Authentication:
        said = config.get("jwt") or []
        if len(said) > _MOST:
            self.mistakes.append(too_many("jwt", len(said), _MOST))
            return Authentication()
        issuers: list[JwtAuthenticator] = []
        for index, each in enumerate(said):
            one = self._authenticator(each, f"jwt[{index}]")
            if one.url in (other.url for other in issuers):
                self.mistakes.append(duplicate(f"jwt[{index}].issuer.url", one.url))
            if one.discovery_url and one.discovery_url in (other.discovery_url for other in issuers):
                self.mistakes.append(duplicate(f"jwt[{index}].issuer.discoveryURL", one.discovery_url))
            issuers.append(one)
        return Authentication(tuple(issuers), self._anonymous(config.get("anonymous")))

    def _anonymous(self, said: Object | None) -> Anonymous | None:
        if said is None:
            return None
        enabled, conditions = said.get("enabled", False), said.get("conditions") or []
        if conditions and not enabled:
            text = "enabled should be set to true when conditions are defined"
            shown = [as_go({"path": each.get("path", "")}, "path") for each in conditions]
            self.mistakes.append(invalid("anonymous.conditions", shown, text))
        paths = frozenset(each.get("path", "") for each in conditions) if conditions else None
        return Anonymous(enabled, paths)

    def _authenticator(self, said: Object, at: str) -> JwtAuthenticator:
        issuer = said.get("issuer") or {}
        self.mistakes += issuer_checks.mistakes(issuer, f"{at}.issuer", self._own)
        rules = tuple(self._claim_rules(said.get("claimValidationRules") or (), f"{at}.claimValidationRules"))
        mapping = self._mapping(said.get("claimMappings") or {}, rules, said.get("userValidationRules") or (), at)
        return JwtAuthenticator(
            issuer.get("url") or "",
            issuer.get("discoveryURL") or "",
            issuer.get("certificateAuthority") or "",
            frozenset(issuer.get("audiences") or ()),
            mapping,
        )

    def _claim_rules(self, rules: Sequence[Object], at: str) -> Iterator[Rule]:
        for index, rule in enumerate(rules):
            here, before = f"{at}[{index}]", rules[:index]
            claim, expression = rule.get("claim") or "", rule.get("expression") or ""
            if claim and expression:
                self.mistakes.append(invalid(here, claim, "claim and expression can't both be set"))
            elif not claim and not expression:
                self.mistakes.append(required(here, "claim or expression is required"))
            elif claim:
                if message := rule.get("message"):
                    text = "may not be specified when claim is set"
                    self.mistakes.append(invalid(f"{here}.message", message, text))
                if any(each.get("claim") == claim and not each.get("expression") for each in before):
                    self.mistakes.append(duplicate(f"{here}.claim", claim))
                yield Rule(claim=claim, value=rule.get("requiredValue") or "")
            else:
                if value := rule.get("requiredValue"):
                    text = "may not be specified when expression is set"
                    self.mistakes.append(invalid(f"{here}.requiredValue", value, text))
                if any(each.get("expression") == expression and not each.get("claim") for each in before):
                    self.mistakes.append(duplicate(f"{here}.expression", expression))
                    continue
                program = self._compile(CLAIMS, expression, f"{here}.expression", cel.BOOL)
                yield Rule(rule.get("message") or "", program, expression)

    def _mapping(self, said: Object, rules: tuple[Rule, ...], user_rules: Sequence[Object], at: str) -> UserMapping:
        here = f"{at}.claimMappings"
        username = self._source(said.get("username") or {}, f"{here}.username", needed=True)
        groups = self._source(said.get("groups") or {}, f"{here}.groups")
        uid = self._uid(said.get("uid") or {}, f"{here}.uid")
        extra = tuple(self._extra(said.get("extra") or (), f"{here}.extra"))
        programs = [username.program, *(source.program for _, source in extra), *(rule.program for rule in rules)]
        verified = any(_selects(program, "email_verified") for program in programs)
        if _selects(username.program, "email") and not verified:
            text = (
                "claims.email_verified must be used in claimMappings.username.expression or "
                "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is "
                "used in claimMappings.username.expression"
            )
            self.mistakes.append(invalid(f"{here}.username.expression", username.expression, text))
        found = tuple(self._user_rules(user_rules, f"{at}.userValidationRules"))
        return UserMapping(username, groups, uid, extra, rules, found)

    def _source(self, said: Object, at: str, *, needed: bool = False) -> Source:
        """What an expression comes to is looked at only when there is a token, as upstream."""
        claim, expression, prefix = said.get("claim") or "", said.get("expression") or "", said.get("prefix")
        if claim and expression:
            self.mistakes.append(invalid(at, "", "claim and expression can't both be set"))
        elif expression:
            if prefix is not None:
                self.mistakes.append(invalid(f"{at}.prefix", prefix, "may not be specified when expression is set"))
            return Source("", "", self._compile(CLAIMS, expression, f"{at}.expression"), expression)
        elif claim:
            if prefix is None:
                text = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
                self.mistakes.append(required(f"{at}.prefix", text))
            return Source(claim, prefix or "")
        elif needed:
            self.mistakes.append(required(at, "claim or expression is required"))
        return Source()

    def _uid(self, said: Object, at: str) -> Source:
        return self._source({"prefix": "", **said} if said.get("claim") else said, at)

    def _extra(self, mappings: Sequence[Object], at: str) -> Iterator[tuple[str, Source]]:
        seen: set[str] = set()
        for index, each in enumerate(mappings):
            here = f"{at}[{index}]"
            key, expression = each.get("key") or "", each.get("valueExpression") or ""
            self.mistakes += domain_prefixed_path(f"{here}.key", key)
            if key != key.lower():
                self.mistakes.append(invalid(f"{here}.key", key, "must be lowercase"))
            domain, slash, _ = key.partition("/")
            if slash and any(domain == each or domain.endswith(f".{each}") for each in _RESERVED):
                text = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
                self.mistakes.append(invalid(f"{here}.key", key, text))
            if key in seen:
                self.mistakes.append(duplicate(f"{here}.key", key))
                continue
            seen.add(key)
            if not expression:
                self.mistakes.append(required(f"{here}.valueExpression"))
                continue
            program = self._compile(CLAIMS, expression, f"{here}.valueExpression")
            yield key, Source("", "", program, expression)

    def _user_rules(self, rules: Sequence[Object], at: str) -> Iterator[Rule]:
        for index, rule in enumerate(rules):
            here = f"{at}[{index}].expression"
            expression = rule.get("expression") or ""
            if not expression:
                self.mistakes.append(required(here))
            elif any(each.get("expression") == expression for each in rules[:index]):
                self.mistakes.append(duplicate(here, expression))
            else:
                program = self._compile(USER, expression, here, cel.BOOL)
                yield Rule(rule.get("message") or "", program, expression)

    def _compile(
        self, environment: cel.Environment, text: str, at: str, wanted: cel.Type | None = None
    ) -> cel.Program | None:
        """A value of any type is no ``wanted`` one here, unlike in policies."""
        try:
            program = environment.compile(text)
            if wanted is None or program.type == wanted:
                return program
            raise cel.WrongType((wanted,))
        except cel.WrongType as error:
            self.mistakes.append(invalid(at, text, str(error)))
        except cel.CompileError as error:
            self.mistakes.append(invalid(at, text, error.told))
        return None


def _selects(program: cel.Program | None, name: str) -> bool:
    """Whether an expression asks for this claim by name."""
    return program is not None and any(_is_claim(node, name) for node in walk(program.checked.root))


def _is_claim(node: Node, name: str) -> bool:
    if not isinstance(node, Select) or node.field != name:
        return False
    return isinstance(node.operand, Ident) and node.operand.name == "claims"
