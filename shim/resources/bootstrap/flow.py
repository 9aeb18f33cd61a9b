"""Flow control of a fresh cluster: who shares which part of the server's attention."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api.meta import GVR, Object

_GROUP = "flowcontrol.apiserver.k8s.io"
FLOW_SCHEMAS = GVR(_GROUP, "v1", "flowschemas", namespaced=False)
PRIORITY_LEVELS = GVR(_GROUP, "v1", "prioritylevelconfigurations", namespaced=False)
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"


LEVELS = (
    # name, shares, lendable percent, queues and hand size (none: what does not fit is refused)
    ("catch-all", 5, 0, None),
    ("global-default", 20, 50, (128, 6)),
    ("leader-election", 10, 0, (16, 4)),
    ("node-high", 40, 25, (64, 6)),
    ("system", 30, 33, (64, 6)),
    ("workload-high", 40, 50, (128, 6)),
    ("workload-low", 100, 90, (128, 6)),
)

_ANYONE = "G:system:unauthenticated G:system:authenticated"
_EVERYTHING = ("* | * | * | cluster",)

SCHEMAS = (
    # name, level, precedence, told apart by, who, resource rules (verbs | groups | resources | scope), paths
    ("catch-all", "catch-all", 10000, "ByUser", _ANYONE, _EVERYTHING, "* | *"),
    ("exempt", "exempt", 1, "", "G:system:masters", _EVERYTHING, "* | *"),
    ("global-default", "global-default", 9900, "ByUser", _ANYONE, _EVERYTHING, "* | *"),
    (
        "kube-controller-manager",
        "workload-high",
        800,
        "ByNamespace",
        "U:system:kube-controller-manager",
        _EVERYTHING,
        "* | *",
    ),
    ("kube-scheduler", "workload-high", 800, "ByNamespace", "U:system:kube-scheduler", _EVERYTHING, "* | *"),
    ("kube-system-service-accounts", "workload-high", 900, "ByNamespace", "S:*", _EVERYTHING, "* | *"),
    ("probes", "exempt", 2, "", _ANYONE, (), "get | /healthz /readyz /livez"),
    ("service-accounts", "workload-low", 9000, "ByUser", "G:system:serviceaccounts", _EVERYTHING, "* | *"),
    (
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        "U:system:kube-controller-manager U:system:kube-scheduler S:*",
        ("get create update | coordination.k8s.io | leases | namespaced",),
        "",
    ),
    (
        "system-node-high",
        "node-high",
        400,
        "ByUser",
        "G:system:nodes",
        ("* | core | nodes nodes/status | cluster", "* | coordination.k8s.io | leases | namespaced"),
        "",
    ),
    ("system-nodes", "system", 500, "ByUser", "G:system:nodes", _EVERYTHING, "* | *"),
)


def objects(now: str) -> Iterator[tuple[GVR, str | None, Object]]:
    """Every priority level and flow schema."""
    exempt = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}
    yield PRIORITY_LEVELS, None, {"metadata": _metadata("exempt"), "spec": exempt, "status": {}}
    for name, shares, lendable, queuing in LEVELS:
        response: Object = {"type": "Reject"}
        if queuing:
            queues = {"queues": queuing[0], "handSize": queuing[1], "queueLengthLimit": 50}
            response = {"type": "Queue", "queuing": queues}
        limited = {"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable}
        spec: Object = {"type": "Limited", "limited": limited}
        yield PRIORITY_LEVELS, None, {"metadata": _metadata(name), "spec": spec, "status": {}}
    for name, level, precedence, distinguisher, who, resources, paths in SCHEMAS:
        rule: Object = {"subjects": [_subject(*word.split(":", 1)) for word in who.split()]}
        if resources:
            rule["resourceRules"] = [_resource_rule(text) for text in resources]
        if paths:
            verbs, urls = paths.split("|")
            rule["nonResourceRules"] = [{"verbs": verbs.split(), "nonResourceURLs": urls.split()}]
        spec = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule]}
        if distinguisher:
            spec["distinguisherMethod"] = {"type": distinguisher}
        condition = {**dangling(level, True), "lastTransitionTime": now}
        yield FLOW_SCHEMAS, None, {"metadata": _metadata(name), "spec": spec, "status": {"conditions": [condition]}}


def dangling(level: str, exists: bool) -> Object:
    """The condition of a FlowSchema that names this level."""
    found = "and it exists" if exists else "but there is no such object"
    return {
        "type": "Dangling",
        "status": "False" if exists else "True",
        "reason": "Found" if exists else "NotFound",
        "message": f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" {found}',
    }


def _metadata(name: str) -> Object:
    return {"name": name, "annotations": {AUTO_UPDATE: "true"}}


def _resource_rule(text: str) -> Object:
    verbs, groups, resources, scope = (part.split() for part in text.split("|"))
    rule: Object = {"verbs": verbs, "apiGroups": ["" if group == "core" else group for group in groups]}
    rule["resources"] = resources
    if scope == ["cluster"]:
        rule["clusterScope"] = True
    return {**rule, "namespaces": ["*"]}


def _subject(letter: str, name: str) -> Object:
    if letter == "S":
        return {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}}
    kind = {"U": "User", "G": "Group"}[letter]
    return {"kind": kind, kind.lower(): {"name": name}}
