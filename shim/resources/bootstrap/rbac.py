"""Roles and bindings of a fresh cluster."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api.meta import GVR, Object
from shim.resources.bootstrap.roles_controllers import CONTROLLERS
from shim.resources.bootstrap.roles_namespaced import NAMESPACED
from shim.resources.bootstrap.roles_parts import PARTS
from shim.resources.bootstrap.roles_users import USERS
from shim.resources.bootstrap.rules import rules

GROUP = "rbac.authorization.k8s.io"
CLUSTER_ROLES = GVR(GROUP, "v1", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS = GVR(GROUP, "v1", "clusterrolebindings", namespaced=False)
ROLES = GVR(GROUP, "v1", "roles")
ROLE_BINDINGS = GVR(GROUP, "v1", "rolebindings")

_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

OWN = {
    # The controllers here share one identity; upstream gives each a service account of its own, bound to its role.
    "shim:controllers": """
        * | * | *
        * | *
    """,
    # Upstream leaves network policies to plug-ins, each with a role of its own; here the proxy enforces them.
    "shim:network-policies": """
        list watch | networking.k8s.io | networkpolicies
        list watch | core | pods namespaces
    """,
}

AGGREGATED = {
    # role: what it is made of, in this order; the first also says what it is itself a part of
    "view": (("system:aggregate-to-view",), "edit"),
    "edit": (("system:aggregate-to-edit", "view"), "admin"),
    "admin": (("edit", "system:aggregate-to-admin"), ""),
}

BINDINGS = {
    # role: who has it; U is a user, G a group, S a service account in kube-system
    "cluster-admin": "G:system:masters",
    "system:basic-user": "G:system:authenticated",
    "system:discovery": "G:system:authenticated",
    "system:kube-controller-manager": "U:system:kube-controller-manager",
    "system:kube-dns": "S:kube-dns",
    "system:kube-scheduler": "U:system:kube-scheduler",
    "system:monitoring": "G:system:monitoring",
    # Nobody has it: the authorizer of nodes knows it, and lets a node see only what its own pods use.
    "system:node": "",
    "system:node-proxier": "U:system:kube-proxy",
    "system:public-info-viewer": "G:system:authenticated G:system:unauthenticated",
    "system:service-account-issuer-discovery": "G:system:serviceaccounts",
    "system:volume-scheduler": "U:system:kube-scheduler",
    "shim:controllers": "U:system:kube-controller-manager",
    "shim:network-policies": "U:system:kube-proxy",
    **{role: f"S:{role.removeprefix('system:controller:')}" for role in CONTROLLERS},
}

NAMESPACED_BINDINGS = (
    # namespace, binding, role, who
    ("kube-public", "system:controller:bootstrap-signer", "", "S:bootstrap-signer"),
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        "U:system:kube-controller-manager U:system:kube-scheduler",
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "",
        "U:system:kube-controller-manager S:kube-controller-manager S:leader-election-controller",
    ),
    ("kube-system", "system::leader-locking-kube-scheduler", "", "U:system:kube-scheduler S:kube-scheduler"),
    ("kube-system", "system:controller:bootstrap-signer", "", "S:bootstrap-signer"),
    ("kube-system", "system:controller:cloud-provider", "", "S:cloud-provider"),
    ("kube-system", "system:controller:token-cleaner", "", "S:token-cleaner"),
)


def objects() -> Iterator[tuple[GVR, str | None, Object]]:
    """Every role and binding."""
    plain = {**USERS, **PARTS, **CONTROLLERS, **OWN}
    known = {name: rules(text) for name, text in plain.items()}
    for name, found in known.items():
        part_of = name.removeprefix("system:aggregate-to-") if name.startswith("system:aggregate-to-") else ""
        yield CLUSTER_ROLES, None, {"metadata": _metadata(name, part_of), "rules": found}
    for name, (parts, part_of) in AGGREGATED.items():
        known[name] = [rule for part in parts for rule in known[part]]
        selector = {"matchLabels": {f"{_AGGREGATE}{name}": "true"}}
        role = {"metadata": _metadata(name, part_of), "aggregationRule": {"clusterRoleSelectors": [selector]}}
        yield CLUSTER_ROLES, None, {**role, "rules": known[name]}
    for name, who in BINDINGS.items():
        yield CLUSTER_ROLE_BINDINGS, None, _binding(name, "ClusterRole", name, who)
    for namespace, roles in NAMESPACED.items():
        for name, text in roles.items():
            yield ROLES, namespace, {"metadata": _metadata(name, namespace=namespace), "rules": rules(text)}
    for namespace, name, role_name, who in NAMESPACED_BINDINGS:
        yield ROLE_BINDINGS, namespace, _binding(name, "Role", role_name or name, who, namespace)


def _metadata(name: str, part_of: str = "", namespace: str = "") -> Object:
    labels = {**_LABELS, f"{_AGGREGATE}{part_of}": "true"} if part_of else dict(_LABELS)
    metadata: Object = {"name": name, "labels": labels, "annotations": dict(_ANNOTATIONS)}
    if namespace:
        metadata["namespace"] = namespace
    return metadata


def _binding(name: str, kind: str, role: str, who: str, namespace: str = "") -> Object:
    binding: Object = {
        "metadata": _metadata(name, namespace=namespace),
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
    }
    if who:
        binding["subjects"] = [_subject(*word.split(":", 1)) for word in who.split()]
    return binding


def _subject(letter: str, name: str) -> Object:
    if letter == "S":
        return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}
    return {"kind": {"U": "User", "G": "Group"}[letter], "apiGroup": GROUP, "name": name}
