"""What is refused of an authentication configuration, and how claims become users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shim.codec.configuration import ConfigurationError
from shim.server.oidc.claims import BadClaims
from shim.server.oidc.config import read

ISSUER = {"url": "https://issuer.example.com", "audiences": ["kube"]}
USERNAME = {"username": {"claim": "sub", "prefix": "oidc:"}}


def _read(issuer: dict[str, Any] | None = None, mappings: dict[str, Any] | None = None, **more: Any) -> Any:
    authenticator = {"issuer": issuer or ISSUER, "claimMappings": mappings or USERNAME, **more}
    config = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [authenticator]}
    return read(json.dumps(config), ("https://kubernetes.default.svc",)).issuers[0].mapping


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"issuer": {**ISSUER, "url": "http://a"}},
        'jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https',
    ),
    ({"issuer": {**ISSUER, "url": "https://kubernetes.default.svc"}}, "URL must not overlap with disallowed issuers"),
    ({"issuer": {**ISSUER, "url": "https://a?b"}}, "URL must not contain a query"),
    ({"issuer": {**ISSUER, "audiences": []}}, "jwt[0].issuer.audiences: Required value"),
    ({"issuer": {**ISSUER, "audiences": ["a", "b"]}}, "audienceMatchPolicy must be MatchAny for multiple audiences"),
    ({"issuer": {**ISSUER, "discoveryURL": ISSUER["url"]}}, "discoveryURL must be different from URL"),
    ({"issuer": {**ISSUER, "egressSelectorType": "a"}}, "egress selector must be either controlplane or cluster"),
    ({"issuer": {**ISSUER, "egressSelectorType": "cluster"}}, "egress selector configuration, which is not built"),
    ({"issuer": {**ISSUER, "url": "https://[::1"}}, "parse \"https://[::1\": missing ']' in host"),
    ({"issuer": {**ISSUER, "url": "https://a%zz"}}, 'parse "https://a%zz": invalid URL escape "%zz"'),
    (
        {"issuer": {**ISSUER, "url": 5}},
        "number into Go struct field Issuer.jwt.issuer.url of type string",
    ),
    ({"issuer": "x"}, "cannot unmarshal string into Go struct field JWTAuthenticator.jwt.issuer of type v1.Issuer"),
    ({"issuer": {**ISSUER, "a": 1, "b": 2}}, 'unknown field "jwt[0].issuer.a", unknown field "jwt[0].issuer.b"'),
    ({"issuer": {**ISSUER, "certificateAuthority": "a"}}, "does not contain any valid RSA or ECDSA certificates"),
    (
        {"mappings": {"username": {}, "groups": {}}},
        "claimMappings.username: Required value: claim or expression is required",
    ),
    ({"mappings": {"username": {"claim": "sub"}}}, "claimMappings.username.prefix: Required value: prefix is required"),
    ({"mappings": {"username": {"claim": "a", "expression": "b"}}}, "claim and expression can't both be set"),
    ({"mappings": {"username": {"expression": "claims.a +"}}}, "claimMappings.username.expression: Invalid value"),
    ({"mappings": {"username": {"expression": "claims . email"}}}, "claims.email_verified must be used"),
    ({"mappings": {"username": {"expression": "claims.?email.orValue('')"}}}, "claims.email_verified must be used"),
    (
        {"mappings": {**USERNAME, "extra": [{"key": "a..b/c"}]}},
        'extra[0].key: Invalid value: "a..b": a lower',
    ),
    ({"mappings": {"username": {"expression": "claims.email"}}}, "claims.email_verified must be used"),
    (
        {"mappings": {**USERNAME, "extra": [{"key": "a.k8s.io/b", "valueExpression": "claims.c"}]}},
        "k8s.io, kubernetes.io and their subdomains are reserved",
    ),
    (
        {"mappings": {**USERNAME, "extra": [{"key": "b", "valueExpression": "claims.c"}]}},
        "must be a domain-prefixed path",
    ),
    ({"claimValidationRules": [{}]}, "claimValidationRules[0]: Required value: claim or expression is required"),
    ({"claimValidationRules": [{"expression": "claims.a"}, {"expression": "'x'"}]}, "must evaluate to bool"),
    ({"claimValidationRules": [{"expression": "claims.a"}]}, "must evaluate to bool"),
    ({"claimValidationRules": [{"claim": "a"}, {"claim": "a"}]}, 'claimValidationRules[1].claim: Duplicate value: "a"'),
    (
        {"userValidationRules": [{"expression": "true"}, {"expression": "true"}]},
        'userValidationRules[1].expression: Duplicate value: "true"',
    ),
    ({"userValidationRules": [{"expression": "claims.a == 'b'"}]}, "undeclared reference to 'claims'"),
]


@pytest.mark.parametrize(("config", "why"), REFUSED)
def test_what_is_wrong_is_told_by_its_place(config: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        _read(**config)
    assert why in str(raised.value)


def test_claims_by_name_have_their_prefix() -> None:
    mappings = {**USERNAME, "groups": {"claim": "roles", "prefix": "role:"}, "uid": {"claim": "id"}}
    user = _read(mappings=mappings).user({"sub": "jane", "roles": "dev", "id": "7", "jti": "abc"})
    assert user.info() == {
        "username": "oidc:jane",
        "uid": "7",
        "groups": ["role:dev", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=abc"]},
    }


def test_expressions_make_users() -> None:
    mappings = {
        "username": {"expression": "claims.email_verified ? claims.email : 'unverified'"},
        "groups": {"expression": "claims.roles.split(',') + ['all']"},
        "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
    }
    rules = {
        "claimValidationRules": [
            {"expression": "claims.hd == 'example.com'", "message": "not of us"},
            {"claim": "tenant", "requiredValue": "one"},
        ],
        "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
    }
    mapping = _read(mappings=mappings, **rules)
    claims = {"email": "a@b", "email_verified": True, "roles": "x,y", "tenant": "one", "hd": "example.com"}
    user = mapping.user(claims)
    assert (user.name, user.groups, dict(user.extra)) == (
        "a@b",
        ("x", "y", "all", "system:authenticated"),
        {"example.com/tenant": ("one",)},
    )
    for changed, why in (
        ({"hd": "elsewhere"}, "validation expression 'claims.hd == 'example.com'' failed: not of us"),
        ({"tenant": "two"}, "required claim tenant value does not match. Got = two, want = one"),
        ({"email": "system:masters"}, "failed: reserved"),
        ({"roles": 5}, "oidc: error evaluating group claim expression"),
        ({"email": ""}, "empty username via CEL expression is not allowed"),
    ):
        with pytest.raises(BadClaims) as raised:
            mapping.user({**claims, **changed})
        assert why in str(raised.value)


def test_an_unverified_address_is_nobodys() -> None:
    mapping = _read(mappings={"username": {"claim": "email", "prefix": ""}})
    assert mapping.user({"email": "a@b"}).name == "a@b"
    with pytest.raises(BadClaims, match="email not verified"):
        mapping.user({"email": "a@b", "email_verified": False})
    with pytest.raises(BadClaims, match='parse username claims "email": claim not present'):
        mapping.user({})
    for verified, why in ((None, "email not verified"), ("true", "cannot unmarshal string into Go value of type bool")):
        with pytest.raises(BadClaims, match=why):
            mapping.user({"email": "a@b", "email_verified": verified})


def test_claims_of_other_types_are_refused_and_none_are_none() -> None:
    mappings = {**USERNAME, "groups": {"claim": "roles", "prefix": ""}}
    mapping = _read(mappings=mappings, claimValidationRules=[{"claim": "tenant", "requiredValue": "one"}])
    claims = {"sub": "jane", "tenant": "one"}
    assert mapping.user({**claims, "roles": None}).groups == ("system:authenticated",)
    for changed, why in (
        ({"roles": [5]}, 'parse groups claim "roles": json: cannot unmarshal array into Go value of type string'),
        ({"tenant": 5}, "parse claim tenant: json: cannot unmarshal number into Go value of type string"),
    ):
        with pytest.raises(BadClaims) as raised:
            mapping.user({**claims, **changed})
        assert why in str(raised.value)


def test_expressions_see_numbers_as_doubles_and_fields_by_escaped_names() -> None:
    mappings = {
        "username": {"expression": "claims.a__dot__b.c__slash__d"},
        "uid": {"expression": "type(claims.n) == double ? string(claims.n) : 'int'"},
        "extra": [{"key": "example.com/t", "valueExpression": "has(claims.in__x) ? 'odd' : claims.l[0].e__dash__f"}],
    }
    rule = "user.extra.example__dot__com__slash__t[0] == 'g'"
    mapping = _read(mappings=mappings, userValidationRules=[{"expression": rule}])
    user = mapping.user({"a.b": {"c/d": "jane"}, "n": 7, "l": [{"e-f": "g"}]})
    assert (user.name, user.uid, dict(user.extra)) == ("jane", "7", {"example.com/t": ("g",)})
