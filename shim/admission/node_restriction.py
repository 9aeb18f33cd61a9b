"""A node writes what is its own and no more, so that who takes over a node does not take over the cluster.

Its Node (not its taints, nor labels that would draw pods to it), its Lease, the status of its pods and of claims,
mirror pods, tokens bound to its pods. What is not named here is left to the authorizer.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID

from shim.admission.request import CREATE, DELETE, MIRROR, UPDATE, Plugin, Reader, Request, Who, refuse
from shim.api import api_references
from shim.api.meta import GVR, Object
from shim.api.status import not_found

PREFIX, GROUP = "system:node:", "system:nodes"
PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes", namespaced=False)
CLAIMS = GVR("", "v1", "persistentvolumeclaims")
VOLUMES = GVR("", "v1", "persistentvolumes", namespaced=False)
DRIVERS = GVR("storage.k8s.io", "v1", "csidrivers", namespaced=False)
LEASES_OF_NODES = "kube-node-lease"
_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
_RESERVED = "node-restriction.kubernetes.io"
_OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
"""What a kubelet may say of itself among the labels of Kubernetes' own domains."""


def node_of(user: Who) -> str | None:
    """The name of the node that a user is; None for anyone else."""
    return user.name.removeprefix(PREFIX) if user.name.startswith(PREFIX) and GROUP in user.groups else None


class NodeRestriction(Plugin):
    async def mutate(self, request: Request, reader: Reader) -> None:
        node = node_of(request.user)
        if node is None or request.operation not in (CREATE, UPDATE, DELETE):
            return
        if not node:
            raise refuse(request, f'could not determine node from user "{request.user.name}"')
        rule = _RULES.get((request.resource.group, request.resource.name))
        if rule and (why := rule(node, request, reader)):
            raise refuse(request, why)


# --- pods -------------------------------------------------------------------------------------------------------------


def _pods(node: str, request: Request, reader: Reader) -> str:
    match request.subresource, request.operation:
        case "", "CREATE":
            return _mirror_pod(node, request, reader)
        case "", "DELETE":
            if (request.old or {}).get("spec", {}).get("nodeName") != node:
                return f'node "{node}" can only delete pods with spec.nodeName set to itself'
        case "", operation:
            return f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods'
        case "status", "UPDATE":
            return _pod_status(node, request)
        case "eviction", "CREATE":
            if _pod(request, reader, request.name)["spec"].get("nodeName") != node:
                return f"node {node} can only evict pods with spec.nodeName set to itself"
        case (("status" | "eviction"), operation):
            return f'unexpected operation "{operation}"'
        case subresource, _:
            return f"unexpected pod subresource \"{subresource}\", only 'status' and 'eviction' are allowed"
    return ""


def _pod(request: Request, reader: Reader, name: str) -> Object:
    """Raises 404, for one "pod", as upstream says here."""
    pod = reader.get(PODS, request.namespace, name)
    if pod is None:
        raise not_found("", "pod", name)
    return pod


def _mirror_pod(node: str, request: Request, reader: Reader) -> str:
    assert request.obj is not None
    metadata, spec = request.obj["metadata"], request.obj["spec"]
    if MIRROR not in (metadata.get("annotations") or ()):
        return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
    if spec.get("nodeName") != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    owners = metadata.get("ownerReferences") or []
    may = f'node "{node}" can only create pods with'
    if len(owners) > 1:
        return f"{may} a single owner reference set to itself"
    owner = owners[0] if owners else {}
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        return f"{may} an owner reference set to itself"
    if not owner.get("controller"):
        return f"{may} a controller owner reference set to itself"
    if owner.get("blockOwnerDeletion"):
        return f'node "{node}" must not set blockOwnerDeletion on an owner reference'
    found = reader.get(NODES, None, node)
    if found is None:
        raise not_found("", "nodes", node)
    if owner.get("uid") != found["metadata"].get("uid"):
        return f"node {node} UID mismatch: expected {owner.get('uid')} got {found['metadata'].get('uid')}"
    named = next(api_references.named_by(spec), None)
    return f'node "{node}" can not create pods that reference {named}' if named else ""


def _pod_status(node: str, request: Request) -> str:
    new, old = request.obj or {}, request.old or {}
    if old["spec"].get("nodeName") != node:
        return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
    if (new["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {}):
        return f'node "{node}" cannot update labels through pod status'
    for field, what in (
        ("resourceClaimStatuses", "resource claim statues"),
        ("extendedResourceClaimStatus", "extended resource claim status"),
    ):
        if ((new.get("status") or {}).get(field) or None) != ((old.get("status") or {}).get(field) or None):
            return f'node "{node}" cannot update {what}'
    return ""


# --- what is the node's own -------------------------------------------------------------------------------------------


def _nodes(node: str, request: Request, reader: Reader) -> str:
    if request.name != node:
        return f'node "{node}" is not allowed to modify node "{request.name}"'
    new, old = request.obj, request.old
    if new is None:
        return ""
    source, before = (((each or {}).get("spec") or {}).get("configSource") for each in (new, old))
    if request.operation == CREATE:
        if source is not None:
            return f'node "{node}" is not allowed to create pods with a non-nil configSource'
        forbidden = _forbidden_labels(new, None)
        named = ", ".join(forbidden)
        return f'node "{node}" is not allowed to set the following labels: {named}' if forbidden else ""
    assert old is not None
    if source is not None and source != before:
        return f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
    if ((new.get("spec") or {}).get("taints") or []) != ((old.get("spec") or {}).get("taints") or []):
        return f'node "{node}" is not allowed to modify taints'
    if (new["metadata"].get("ownerReferences") or []) != (old["metadata"].get("ownerReferences") or []):
        return f'node "{node}" is not allowed to modify ownerReferences'
    forbidden = _forbidden_labels(new, old)
    return f"is not allowed to modify labels: {', '.join(forbidden)}" if forbidden else ""


def _forbidden_labels(new: Object, old: Object | None) -> list[str]:
    """Labels that are changed and not the node's to change."""
    labels, before = ((((each or {}).get("metadata") or {}).get("labels") or {}) for each in (new, old))
    changed = {key for key in labels.keys() | before.keys() if labels.get(key) != before.get(key)}
    return sorted(key for key in changed if not _may_label(key))


def _may_label(key: str) -> bool:
    domain, slash, _ = key.partition("/")
    if not slash or not _below(domain, ("kubernetes.io", "k8s.io")):
        return True
    if _below(domain, (_RESERVED,)):
        return False
    return key in _OWN_LABELS or _below(domain, _OWN_DOMAINS)


def _below(domain: str, others: Iterable[str]) -> bool:
    return any(domain == other or domain.endswith(f".{other}") for other in others)


def _leases(node: str, request: Request, reader: Reader) -> str:
    if request.namespace != LEASES_OF_NODES:
        return f'can only access leases in the "{LEASES_OF_NODES}" system namespace'
    if request.name != node:
        return "can only access node lease with the same name as the requesting node"
    return ""


def _csi_nodes(node: str, request: Request, reader: Reader) -> str:
    return "" if request.name == node else "can only access CSINode with the same name as the requesting node"


def _resource_slices(node: str, request: Request, reader: Reader) -> str:
    verb = {CREATE: "create", DELETE: "delete"}.get(request.operation)
    slice_ = request.obj if request.operation == CREATE else request.old
    if verb and ((slice_ or {}).get("spec") or {}).get("nodeName") != node:
        return f"can only {verb} ResourceSlice with the same NodeName as the requesting node"
    return ""


def _claims(node: str, request: Request, reader: Reader) -> str:
    """Of claims a node says how large they have become."""
    if request.subresource != "status":
        return "may only update PVC status"
    if request.operation != UPDATE:
        return f'unexpected operation "{request.operation}"'
    if _fixed_of_claim(request.obj) != _fixed_of_claim(request.old):
        return f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
    return ""


def _fixed_of_claim(claim: Object | None) -> Object:
    claim = claim or {}
    free = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
    metadata = {
        key: value for key, value in claim["metadata"].items() if key not in ("resourceVersion", "managedFields")
    }
    status = {key: value for key, value in (claim.get("status") or {}).items() if key not in free}
    return {**claim, "metadata": metadata, "status": status}


# --- identities -------------------------------------------------------------------------------------------------------


def _service_accounts(node: str, request: Request, reader: Reader) -> str:
    """Tokens for accounts: only of a pod that is on the node, and only for whom the pod has one mounted."""
    if request.operation != CREATE or request.subresource != "token" or request.obj is None:
        return ""
    spec = request.obj.get("spec") or {}
    bound = spec.get("boundObjectRef") or {}
    if (bound.get("apiVersion"), bound.get("kind")) != ("v1", "Pod") or not bound.get("name"):
        return "node requested token not bound to a pod"
    uid = bound.get("uid")
    if not uid:
        return "node requested token with a pod binding without a uid"
    pod = _pod(request, reader, bound["name"])
    if uid != pod["metadata"].get("uid"):
        return (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
    if pod["spec"].get("nodeName") != node:
        return "node requested token bound to a pod scheduled on a different node"
    return _audience(request, reader, pod, spec.get("audiences") or [])


def _audience(request: Request, reader: Reader, pod: Object, audiences: list[str]) -> str:
    if len(audiences) > 1:
        return "node may only request 0 or 1 audiences"
    audience = audiences[0] if audiences else ""
    if audience in _mounted(pod, reader):
        return ""
    asked = GVR("", "v1", audience)
    verb = "request-serviceaccounts-token-audience"
    if reader.may(request.user, verb, asked, request.name, namespace=request.namespace or ""):
        return ""
    user = request.user.name
    return (
        f'audience "{audience}" not found in pod spec volume, {user} is not authorized to request tokens for this '
        "audience"
    )


def _mounted(pod: Object, reader: Reader) -> Iterator[str]:
    """The audiences of tokens that a pod's volumes hold, its CSI drivers' among them."""
    metadata = pod["metadata"]
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if token := source.get("serviceAccountToken"):
                yield token.get("audience") or ""
        driver = (volume.get("csi") or {}).get("driver")
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if volume.get("ephemeral") is not None:
            claim = f"{metadata['name']}-{volume['name']}"
        if claim:
            found = reader.get(CLAIMS, metadata["namespace"], claim) or {"spec": {}}
            made = reader.get(VOLUMES, None, found["spec"].get("volumeName") or "") or {"spec": {}}
            driver = (made["spec"].get("csi") or {}).get("driver")
        if driver and (known := reader.get(DRIVERS, None, driver)):
            for each in known["spec"].get("tokenRequests") or ():
                yield each.get("audience") or ""


def _signing_requests(node: str, request: Request, reader: Reader) -> str:
    if request.operation != CREATE or request.obj is None or request.obj["spec"].get("signerName") not in _SIGNERS:
        return ""
    try:
        text = base64.b64decode(request.obj["spec"].get("request") or "", validate=True)
        if b"-----BEGIN CERTIFICATE REQUEST-----" not in text:
            return "unable to parse csr: PEM block type must be CERTIFICATE REQUEST"
        parsed = x509.load_pem_x509_csr(text)
        names = [each.value for each in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, binascii.Error) as error:
        return f"unable to parse csr: {error}"
    return "" if names == [PREFIX + node] else f"can only create a node CSR with CN={PREFIX}{node}"


_RULES: dict[tuple[str, str], Callable[[str, Request, Reader], str]] = {
    ("", "pods"): _pods,
    ("", "nodes"): _nodes,
    ("", "persistentvolumeclaims"): _claims,
    ("", "serviceaccounts"): _service_accounts,
    ("coordination.k8s.io", "leases"): _leases,
    ("storage.k8s.io", "csinodes"): _csi_nodes,
    ("resource.k8s.io", "resourceslices"): _resource_slices,
    ("certificates.k8s.io", "certificatesigningrequests"): _signing_requests,
}
"""What a node is told when it goes too far; "" where it may. Kinds that are not here are left to the authorizer."""
