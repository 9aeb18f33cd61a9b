"""What may a kubelet do? A node reads only what its pods use, and writes only what is its own.

Upstream keeps a graph of nodes, pods and what those name. Here the cache is asked instead: which pods a node has is
known without decoding any, and what a pod names is remembered until the pod changes. What a node may write of its
own (which Node, which Lease on creation) is left to the admission plugin NodeRestriction, as upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from shim.api.keys import prefix_of
from shim.api.meta import Object
from shim.api.pod_secrets import of_pod
from shim.server.routes import RequestInfo
from shim.server.users import NODE_PREFIX, NODES, User
from shim.store.cache import Cache, Entry

LEASES = "kube-node-lease"
REMEMBERED = 10_000
MIRROR = "kubernetes.io/config.mirror"
_OWN_VERBS = ("get", "create", "update", "patch", "delete")
UNLISTED = "node authorizer does not support user rule resolution"


class Verdict(NamedTuple):
    """None of ``allowed`` means: this authorizer has no rule of its own, the role ``system:node`` decides."""

    allowed: bool | None
    why: str = ""


_YES = Verdict(True)
_SILENT = Verdict(False)


class NodeAccess:
    """Judges requests of nodes."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._named: dict[tuple[str, int], frozenset[tuple[str, str]]] = {}

    def judge(self, user: User, asked: RequestInfo) -> Verdict | None:
        """None for those that are no nodes."""
        if NODES not in user.groups or not user.name.startswith(NODE_PREFIX):
            return None
        node = user.name.removeprefix(NODE_PREFIX)
        if not node:
            return Verdict(False, f'unknown node for user "{user.name}"')
        rule = _RULES.get((asked.group, asked.resource))
        return rule(self, node, asked) if rule else Verdict(None)

    # -- rules, one per resource

    def _secret_or_map(self, node: str, asked: RequestInfo) -> Verdict:
        if asked.verb not in ("get", "list", "watch"):
            return Verdict(False, "can only read resources of this type")
        if asked.subresource:
            return Verdict(False, "cannot read subresource")
        if not asked.namespace:
            return Verdict(False, "can only read namespaced object of this type")
        return self._related(node, asked)

    def _claim(self, node: str, asked: RequestInfo) -> Verdict:
        if asked.subresource == "status":
            if asked.verb not in ("update", "patch"):
                return Verdict(False, "can only get/update/patch this type")
            return self._related(node, asked)
        return self._single(node, asked)

    def _single(self, node: str, asked: RequestInfo) -> Verdict:
        if asked.verb != "get":
            return Verdict(False, "can only get individual resources of this type")
        if asked.subresource:
            return Verdict(False, "cannot get subresource")
        return self._related(node, asked)

    def _account(self, node: str, asked: RequestInfo) -> Verdict:
        if asked.verb == "get" and not asked.subresource:
            return self._secret_or_map(node, asked)
        if asked.verb != "create" or not asked.name:
            return Verdict(False, "can only create tokens for individual service accounts")
        if asked.subresource != "token":
            return Verdict(False, "can only create token subresource of serviceaccount")
        return self._related(node, asked)

    def _lease(self, node: str, asked: RequestInfo) -> Verdict:
        if asked.verb not in _OWN_VERBS:
            return Verdict(False, "can only get, create, update, patch, or delete a node lease")
        if asked.namespace != LEASES:
            return Verdict(False, f'can only access leases in the "{LEASES}" system namespace')
        if asked.verb != "create" and asked.name != node:
            return Verdict(False, "can only access node lease with the same name as the requesting node")
        return _YES

    def _csi_node(self, node: str, asked: RequestInfo) -> Verdict:
        if asked.verb not in _OWN_VERBS:
            return Verdict(False, "can only get, create, update, patch, or delete a CSINode")
        if asked.subresource:
            return Verdict(False, "cannot authorize CSINode subresources")
        if asked.verb != "create" and asked.name != node:
            return Verdict(False, "can only access CSINode with the same name as the requesting node")
        return _YES

    def _slice(self, node: str, asked: RequestInfo) -> Verdict:
        if asked.subresource:
            return Verdict(False, "cannot authorize ResourceSlice subresources")
        if asked.verb == "create":
            return _YES
        if asked.verb in ("get", "update", "patch", "delete"):
            return self._related(node, asked)
        if asked.verb in ("watch", "list", "deletecollection"):
            if ("spec.nodeName", node) in asked.fields:
                return _YES
            text = "can only list/watch/deletecollection resourceslices with nodeName field selector"
            return Verdict(False, text)
        verbs = "get, watch, list, create, update, patch, delete, deletecollection"
        return Verdict(False, f"only the following verbs are allowed for a ResourceSlice: {verbs}")

    def _node(self, node: str, asked: RequestInfo) -> Verdict:
        match asked.subresource, asked.verb:
            case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
                return _YES
            case "", "get" | "list" | "watch":
                if asked.name == node:
                    return _YES
                what = f"'{asked.name}'" if asked.name else "all nodes"
                return Verdict(False, f"node '{node}' cannot read {what}, only its own Node object")
        return _SILENT

    def _pod(self, node: str, asked: RequestInfo) -> Verdict:
        match asked.subresource, asked.verb:
            case "", "get":
                return self._single(node, asked)
            case "", "list" | "watch":
                if ("spec.nodeName", node) in asked.fields:
                    return _YES
                if asked.name:
                    return self._related(node, asked)
                return Verdict(False, "can only list/watch pods with spec.nodeName field selector")
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return _YES
        return _SILENT

    # -- relations

    def _related(self, node: str, asked: RequestInfo) -> Verdict:
        if not asked.name:
            return Verdict(False, "No Object name found")
        if _RELATIONS[asked.resource](self, node, asked.namespace, asked.name):
            return _YES
        return Verdict(False, f"no relationship found between node '{node}' and this object")

    def _pods_of(self, node: str, namespace: str = "") -> Iterator[Entry]:
        prefix = f"/registry/pods/{namespace}/" if namespace else "/registry/pods/"
        return (entry for entry in self._cache.range(prefix) if entry.fields.get("spec.nodeName") == node)

    def _names(self, entry: Entry) -> frozenset[tuple[str, str]]:
        """What a pod names, as (resource, name) in its own namespace."""
        key = (entry.key, entry.revision)
        known = self._named.get(key)
        if known is None:
            if len(self._named) >= REMEMBERED:
                self._named.clear()
            known = self._named[key] = frozenset(named_by(entry.decode()))
        return known

    def _names_directly(self, resource: str, node: str, namespace: str, name: str) -> bool:
        return any((resource, name) in self._names(entry) for entry in self._pods_of(node, namespace))

    def _has_secret(self, node: str, namespace: str, name: str) -> bool:
        if self._names_directly("secrets", node, namespace, name):
            return True
        return any((namespace, name) in _secrets_of_volume(volume) for volume in self._volumes_of(node))

    def _volumes_of(self, node: str) -> Iterator[Object]:
        """The PersistentVolumes that pods on the node have claimed."""
        for entry in self._pods_of(node):
            namespace = entry.fields.get("metadata.namespace", "")
            for kind, name in self._names(entry):
                if kind == "persistentvolumeclaims" and (claim := self._stored(kind, f"{namespace}/{name}")):
                    volume = self._stored("persistentvolumes", (claim.get("spec") or {}).get("volumeName") or "")
                    if volume is not None:
                        yield volume

    def _has_volume(self, node: str, namespace: str, name: str) -> bool:
        volume = self._stored("persistentvolumes", name)
        claimed = ((volume or {}).get("spec") or {}).get("claimRef") or {}
        where, claim = claimed.get("namespace", ""), claimed.get("name", "")
        return bool(claim) and self._names_directly("persistentvolumeclaims", node, where, claim)

    def _has_pod(self, node: str, namespace: str, name: str) -> bool:
        entry = self._cache.get(f"/registry/pods/{namespace}/{name}")
        return entry is not None and entry.fields.get("spec.nodeName") == node

    def _has_attachment(self, node: str, namespace: str, name: str) -> bool:
        attachment = self._stored("volumeattachments", name)
        return attachment is not None and attachment["spec"].get("nodeName") == node

    def _has_slice(self, node: str, namespace: str, name: str) -> bool:
        found = self._stored("resourceslices", name)
        return found is not None and found["spec"].get("nodeName") == node

    def _stored(self, resource: str, path: str) -> Object | None:
        entry = self._cache.get(prefix_of("", resource) + path) if path else None
        return entry.decode() if entry is not None else None


_Rule = Callable[[NodeAccess, str, RequestInfo], Verdict]
_RULES: dict[tuple[str, str], _Rule] = {
    ("", "secrets"): NodeAccess._secret_or_map,
    ("", "configmaps"): NodeAccess._secret_or_map,
    ("", "persistentvolumeclaims"): NodeAccess._claim,
    ("", "persistentvolumes"): NodeAccess._single,
    ("", "serviceaccounts"): NodeAccess._account,
    ("", "nodes"): NodeAccess._node,
    ("", "pods"): NodeAccess._pod,
    ("resource.k8s.io", "resourceclaims"): NodeAccess._single,
    ("resource.k8s.io", "resourceslices"): NodeAccess._slice,
    ("storage.k8s.io", "volumeattachments"): NodeAccess._single,
    ("storage.k8s.io", "csinodes"): NodeAccess._csi_node,
    ("coordination.k8s.io", "leases"): NodeAccess._lease,
}


def _named(resource: str) -> Callable[[NodeAccess, str, str, str], bool]:
    return lambda access, node, namespace, name: access._names_directly(resource, node, namespace, name)


_RELATIONS: dict[str, Callable[[NodeAccess, str, str, str], bool]] = {
    "secrets": NodeAccess._has_secret,
    "configmaps": _named("configmaps"),
    "serviceaccounts": _named("serviceaccounts"),
    "persistentvolumeclaims": _named("persistentvolumeclaims"),
    "resourceclaims": _named("resourceclaims"),
    "persistentvolumes": NodeAccess._has_volume,
    "pods": NodeAccess._has_pod,
    "volumeattachments": NodeAccess._has_attachment,
    "resourceslices": NodeAccess._has_slice,
}
"""By resource: whether an object has to do with a node."""


def named_by(pod: Object) -> Iterator[tuple[str, str]]:
    """Everything a pod names, as (resource, name). Mirror pods, which nodes make themselves, give them no rights."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if MIRROR in (metadata.get("annotations") or {}):
        return
    yield "serviceaccounts", spec.get("serviceAccountName", "")
    for name in of_pod(spec):
        yield "secrets", name
    for name in _maps_of(spec):
        yield "configmaps", name
    for volume in spec.get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            yield "persistentvolumeclaims", claim.get("claimName", "")
        elif volume.get("ephemeral") is not None:
            yield "persistentvolumeclaims", f"{metadata['name']}-{volume['name']}"
    made = {each["name"]: each.get("resourceClaimName") for each in status.get("resourceClaimStatuses") or ()}
    for claim in spec.get("resourceClaims") or ():
        yield "resourceclaims", claim.get("resourceClaimName") or made.get(claim["name"]) or ""
    yield "resourceclaims", (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName", "")


def _maps_of(spec: Object) -> Iterator[str]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            for variable in container.get("env") or ():
                yield ((variable.get("valueFrom") or {}).get("configMapKeyRef") or {}).get("name", "")
            for source in container.get("envFrom") or ():
                yield (source.get("configMapRef") or {}).get("name", "")
    for volume in spec.get("volumes") or ():
        yield (volume.get("configMap") or {}).get("name", "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield (source.get("configMap") or {}).get("name", "")


def _secrets_of_volume(volume: Object) -> Iterable[tuple[str, str]]:
    """(namespace, name) of the Secrets a kubelet needs to use a PersistentVolume."""
    spec = volume["spec"]
    own = (spec.get("claimRef") or {}).get("namespace", "")
    references = [
        (source.get("secretRef") or {})
        for kind in ("cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")
        if (source := spec.get(kind))
    ]
    csi = spec.get("csi") or {}
    references += [csi.get(f"node{step}SecretRef") or {} for step in ("Publish", "Stage", "Expand")]
    found = [(each.get("namespace") or own, each["name"]) for each in references if each.get("name")]
    if azure := spec.get("azureFile"):
        found.append((azure.get("secretNamespace") or own, azure.get("secretName", "")))
    return found
