"""Which certificates does a cluster give without asking a person? Those nodes need, where roles let them be given.

What a way is for is told by the request; whether it is open to who asks is told by the API server, which is asked
for the right to ``create`` a subresource of certificatesigningrequests. Two ways are upstream's; the two others exist
because a node here serves with a certificate of the cluster's CA, and its proxy has an identity of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from cryptography import x509

from shim.api.certificates import KUBE_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, parse_request
from shim.api.conditions import find
from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.csr import RequestController, is_signed
from shim.controllers.csr_signing import SIGNERS, alternatives_of, names_of
from shim.controllers.loop import Context

NODE, NETPROXY = "system:node:", "system:kube-proxy"
RESERVED = ("kubernetes", "kubernetes.default", "localhost")
"""Names the API servers' own certificates are for: a node may be called so, but serves nobody."""

_DECISIONS = ("Approved", "Denied")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request its signer would take, and what it must not take from others."""

    user: str
    name: str
    groups: list[str]
    alternatives: list[x509.GeneralName]
    taken: Collection[str] = ()
    """Addresses of other nodes and of the API servers."""


@dataclass(frozen=True, slots=True)
class Way:
    signer: str
    subresource: str
    message: str
    is_for: Callable[[Asked], bool]


def _is_own(asked: Asked) -> bool:
    return asked.user == asked.name


def _serves_itself(asked: Asked) -> bool:
    """For its own name, and for addresses that are nobody else's: else a node could pass for another, or a master."""
    node = asked.name.removeprefix(NODE)
    if node in RESERVED or node.startswith("kubernetes.default."):
        return False
    names = {str(each.value) for each in asked.alternatives if isinstance(each, x509.DNSName)}
    addresses = {str(each.value) for each in asked.alternatives if isinstance(each, x509.IPAddress)}
    return _is_own(asked) and names <= {node} and not addresses & set(asked.taken)


def _is_netproxy(asked: Asked) -> bool:
    return asked.user.startswith(NODE) and asked.name == NETPROXY and not asked.groups and not asked.alternatives


WAYS = (
    Way(KUBELET_CLIENT, "selfnodeclient", "Auto approving self kubelet client certificate", _is_own),
    Way(KUBELET_CLIENT, "nodeclient", "Auto approving kubelet client certificate", lambda asked: True),
    Way(KUBELET_SERVING, "selfnodeserver", "Auto approving self kubelet serving certificate", _serves_itself),
    Way(KUBE_CLIENT, "netproxyclient", "Auto approving client certificate of a node's proxy", _is_netproxy),
)
"""In the order they are tried; ``message`` becomes the condition's."""


class CsrApprover(RequestController):
    """Approves what a way is open for."""

    name = "csrapproving"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.nodes = ctx.informer(r.NODES)
        self.services = ctx.informer(r.SERVICES)
        self.slices = ctx.informer(r.ENDPOINTSLICES)

    async def reconcile(self, key: str) -> None:
        request = self.requests.get(key)
        if request is None or is_signed(request) or any(find(request, each) for each in _DECISIONS):
            return
        spec = request["spec"]
        ways = [way for way in WAYS if way.signer == spec["signerName"]]
        if not ways:
            return
        parsed = parse_request(spec["request"])
        if SIGNERS[spec["signerName"]](parsed, spec["usages"]):
            return
        name, groups = names_of(parsed)
        taken = self._taken(name.removeprefix(NODE))
        asked = Asked(spec.get("username", ""), name, groups, alternatives_of(parsed), taken)
        for way in ways:
            if way.is_for(asked) and await self._may(spec, way.subresource):
                await self._approve(request, f"{way.message} after SubjectAccessReview.")
                return

    def _taken(self, node: str) -> set[str]:
        """Addresses that are not this node's: those of the other nodes, and those the API servers are reached at."""
        found: set[str] = set()
        for other in self.nodes.list():
            if other["metadata"]["name"] != node:
                found |= {each["address"] for each in (other.get("status") or {}).get("addresses") or ()}
        if service := self.services.get("default/kubernetes"):
            found.add(service["spec"]["clusterIP"])
        own = {
            each["address"]
            for each in ((self.nodes.get(node) or {}).get("status") or {}).get("addresses") or ()
            if each["type"] == "InternalIP"
        }
        for endpoint in (self.slices.get("default/kubernetes") or {}).get("endpoints") or ():
            found |= set(endpoint["addresses"]) - own
        return found

    async def _may(self, spec: Object, subresource: str) -> bool:
        attributes = {
            "group": r.CERTIFICATESIGNINGREQUESTS.group,
            "resource": r.CERTIFICATESIGNINGREQUESTS.resource,
            "version": "*",
            "verb": "create",
            "subresource": subresource,
        }
        asking = {name: spec[name] for name in ("uid", "groups", "extra") if name in spec}
        review: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": spec.get("username", ""), **asking, "resourceAttributes": attributes},
        }
        answer = await self.ctx.client.create(r.SUBJECTACCESSREVIEWS, review)
        return bool(answer["status"].get("allowed"))

    async def _approve(self, request: Object, message: str) -> None:
        status = request.get("status") or {}
        approval = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}
        conditions = [*(status.get("conditions") or ()), approval]
        approved = {**request, "status": {**status, "conditions": conditions}}
        await self.ctx.client.update(r.CERTIFICATESIGNINGREQUESTS, approved, subresource="approval")
