"""Which rule of an audit policy fits a request."""

from __future__ import annotations

import pytest

from shim.codec.configuration import ConfigurationError
from shim.server.audit.policy import Level, read
from shim.server.routes import RequestInfo, parse
from shim.server.users import User

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver"]
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: RequestResponse
  omitManagedFields: true
  verbs: [create, patch]
  resources:
  - {group: "", resources: [pods, "pods/*"]}
  - {group: apps, resources: ["*/scale"]}
  namespaces: [default]
- level: Request
  userGroups: [dev]
  resources: [{group: "", resources: [secrets], resourceNames: [one]}]
  omitStages: [ResponseStarted]
- level: Metadata
  resources: [{group: "", resources: [secrets, configmaps]}]
"""
JANE = User("jane", ("dev",))


def _asked(method: str, path: str) -> RequestInfo:
    return parse(method, path, False)


@pytest.mark.parametrize(
    ("user", "method", "path", "level"),
    [
        (User("system:apiserver"), "GET", "/api/v1/namespaces/a/secrets", Level.NONE),
        (JANE, "GET", "/healthz/etcd", Level.NONE),
        (JANE, "GET", "/metrics", Level.NONE),
        (JANE, "POST", "/api/v1/namespaces/default/pods", Level.REQUEST_RESPONSE),
        (JANE, "POST", "/api/v1/namespaces/default/pods/p/eviction", Level.REQUEST_RESPONSE),
        (JANE, "PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", Level.REQUEST_RESPONSE),
        (JANE, "PATCH", "/apis/apps/v1/namespaces/default/deployments/d", Level.NONE),
        (JANE, "POST", "/api/v1/namespaces/other/pods", Level.NONE),
        (JANE, "GET", "/api/v1/namespaces/a/secrets/one", Level.REQUEST),
        (JANE, "GET", "/api/v1/namespaces/a/secrets/two", Level.METADATA),
        (User("bob"), "GET", "/api/v1/namespaces/a/secrets/one", Level.METADATA),
    ],
)
def test_the_first_rule_that_fits_says(user: User, method: str, path: str, level: Level) -> None:
    assert read(POLICY).choose(user, _asked(method, path)).level == level


def test_stages_are_left_out_by_the_policy_and_by_the_rule() -> None:
    choice = read(POLICY).choose(JANE, _asked("GET", "/api/v1/namespaces/a/secrets/one"))
    assert choice.omitted == {"RequestReceived", "ResponseStarted"}
    assert not choice.without_managed_fields


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("[]", "0 rules"),
        ("[{level: All}]", 'rules[0].level: Unsupported value: "All"'),
        ("[{}, null]", "rules[0].level: Required value\nrules[1].level: Required value"),
        ("[{level: None, omitStages: [Never]}]", 'rules[0].omitStages[0]: Invalid value: "Never"'),
        (
            "[{level: None, users: a}]",
            "into Go struct field PolicyRule.rules.users of type []string",
        ),
        ('[{level: None, nonResourceURLs: ["/a*b"]}]', "wildcards '*' must be the final character of the rule"),
        ('[{level: None, nonResourceURLs: ["a"]}]', "must begin with a '/' character"),
        (
            "[{level: None, resources: [{group: A/b}]}]",
            'rules[0].resources.group: Invalid value: "A/b": a lower',
        ),
        ("[{level: None, resources: [{resourceNames: [a]}]}]", "using resourceNames requires at least one resource"),
        ('[{level: None, nonResourceURLs: ["/a"], namespaces: [b]}]', "cannot apply to both"),
    ],
)
def test_a_policy_that_is_none_is_refused(rules: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n")
    assert why in str(raised.value)


def test_what_a_policy_does_not_know_is_passed_over() -> None:
    policy = read("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Request, verb: [get]}]\nmore: 1\n")
    assert policy.choose(JANE, _asked("POST", "/api/v1/namespaces/a/secrets")).level == Level.REQUEST


@pytest.mark.parametrize(
    ("resources", "path", "fits"),
    [
        ('{group: "*"}', "/apis/apps/v1/namespaces/a/deployments", True),
        ('{group: "*", resources: [pods]}', "/apis/apps/v1/namespaces/a/deployments", False),
        ("{resources: [pods/*]}", "/api/v1/namespaces/a/pods/b", True),
        ("{resources: [pods/*]}", "/api/v1/namespaces/a/pods/b/log", True),
        ("{resources: [pods]}", "/api/v1/namespaces/a/pods/b/log", False),
        ("{resources: ['*/log']}", "/api/v1/namespaces/a/pods/b/log", True),
        ("{resources: ['*/log']}", "/api/v1/namespaces/a/pods/b", False),
    ],
)
def test_a_rule_names_groups_and_resources_wide(resources: str, path: str, fits: bool) -> None:
    policy = read(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{{level: Request, resources: [{resources}]}}]\n")
    assert (policy.choose(JANE, _asked("GET", path)).level == Level.REQUEST) is fits
