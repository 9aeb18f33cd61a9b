"""What is on each node, as the scheduler believes? The nodes with their pods, counted as pods come and go.

A pod counts from the moment it is assumed to be on a node, before its binding is written or seen: so the next pod
is placed knowing of it. When the informer shows the pod, that takes the assumption's place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace

from shim.api import claims, placement, selectors
from shim.api.meta import Object, controller_of, key_of
from shim.api.placement import Amounts, Port

HOSTNAME = "kubernetes.io/hostname"
FINISHED = ("Succeeded", "Failed")
ASSUMED = {"cpu": 100, "memory": 200 * 1024 * 1024}  # what a pod that asks for nothing is taken to use, as upstream


@dataclass(frozen=True, slots=True)
class Term:
    """A pod affinity term, compiled: which pods it means, and what being near them is."""

    topology_key: str
    matches: Callable[[Mapping[str, str]], bool]
    namespaces: frozenset[str]
    in_namespace: Callable[[Mapping[str, str]], bool] | None
    weight: int = 0

    def means(self, pod: Pod, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the pod is one of those; ``namespaces`` are the labels of each."""
        here = pod.namespace in self.namespaces or (
            self.in_namespace is not None and self.in_namespace(namespaces.get(pod.namespace, {}))
        )
        return here and self.matches(pod.labels)


@dataclass(slots=True)
class Pod:
    """What scheduling needs of a pod, read from it once."""

    obj: Object
    key: str
    uid: str
    namespace: str
    labels: Mapping[str, str]
    priority: int
    owner: str
    requests: Amounts
    ports: frozenset[Port]
    terminating: bool
    affinity: tuple[Term, ...]
    anti_affinity: tuple[Term, ...]
    near: tuple[Term, ...]  # preferred affinity; a negative weight is preferred anti-affinity
    claims: tuple[str, ...]  # their keys

    @property
    def spec(self) -> Object:
        spec: Object = self.obj["spec"]
        return spec

    @classmethod
    def of(cls, obj: Object) -> Pod:
        metadata, spec = obj["metadata"], obj["spec"]
        affinity = spec.get("affinity") or {}
        near, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
        required, preferred = (
            "requiredDuringSchedulingIgnoredDuringExecution",
            "preferredDuringSchedulingIgnoredDuringExecution",
        )
        namespace = metadata.get("namespace", "")
        return cls(
            obj=obj,
            key=key_of(obj),
            uid=metadata.get("uid", ""),
            namespace=namespace,
            labels=metadata.get("labels") or {},
            priority=spec.get("priority") or 0,
            owner=(controller_of(obj) or {}).get("uid", ""),
            requests=placement.pod_requests(spec),
            ports=placement.host_ports(spec),
            terminating=bool(metadata.get("deletionTimestamp")),
            affinity=tuple(_term(term, namespace) for term in near.get(required) or ()),
            anti_affinity=tuple(_term(term, namespace) for term in apart.get(required) or ()),
            near=(
                *(_term(each["podAffinityTerm"], namespace, each["weight"]) for each in near.get(preferred) or ()),
                *(_term(each["podAffinityTerm"], namespace, -each["weight"]) for each in apart.get(preferred) or ()),
            ),
            claims=tuple(f"{namespace}/{name}" for name, _ in claims.claims_of(obj)),
        )


def _term(term: Object, namespace: str, weight: int = 0) -> Term:
    in_namespace = term.get("namespaceSelector")
    names = term.get("namespaces") or ([namespace] if in_namespace is None else [])
    return Term(
        term["topologyKey"],
        selectors.from_object(term.get("labelSelector")).matches,
        frozenset(names),
        selectors.from_object(in_namespace).matches if in_namespace is not None else None,
        weight,
    )


@dataclass(slots=True)
class Node:
    """A node with the pods on it. ``obj`` is None while only its pods are known."""

    name: str
    obj: Object | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Object, ...] = ()
    allocatable: Amounts = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)  # sizes by name
    pods: dict[str, Pod] = field(default_factory=dict)
    requested: Amounts = field(default_factory=dict)
    assumed: Amounts = field(default_factory=lambda: dict.fromkeys(ASSUMED, 0))  # to be compared by, not to fit
    owners: dict[str, int] = field(default_factory=dict)  # uid -> how many of its pods are here to stay

    def show(self, obj: Object) -> None:
        """Take over what the Node object says."""
        self.obj = obj
        self.labels = obj["metadata"].get("labels") or {}
        self.taints = tuple(obj["spec"].get("taints") or ())
        status = obj.get("status") or {}
        self.allocatable = placement.amounts(status.get("allocatable") or status.get("capacity"))
        found = status.get("images") or ()
        self.images = {name: each.get("sizeBytes") or 0 for each in found for name in each.get("names") or ()}

    def place(self, pod: Pod) -> None:
        self.pods[pod.uid] = pod
        self._count(pod, 1)

    def remove(self, uid: str) -> None:
        self._count(self.pods.pop(uid), -1)

    def _count(self, pod: Pod, times: int) -> None:
        for name, amount in pod.requests.items():
            self.requested[name] = self.requested.get(name, 0) + times * amount
        for name, least in ASSUMED.items():
            self.assumed[name] += times * (pod.requests.get(name) or least)
        if pod.owner and not pod.terminating:
            self.owners[pod.owner] = self.owners.get(pod.owner, 0) + times
            if not self.owners[pod.owner]:
                del self.owners[pod.owner]

    def copy(self) -> Node:
        """To try what would be if other pods were on it."""
        return replace(
            self,
            pods=dict(self.pods),
            requested=dict(self.requested),
            assumed=dict(self.assumed),
            owners=dict(self.owners),
        )


class Snapshot:
    """All nodes and everything else a placement depends on."""

    def __init__(self) -> None:
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.claims: dict[str, Object] = {}
        self.volumes: dict[str, Object] = {}
        self.storage_classes: dict[str, Object] = {}
        self.reserved: dict[str, str] = {}  # volumes that are about to be bound -> uid of the claim
        self.selected: dict[str, str] = {}  # claims that are about to get a volume -> name of the node
        self.repelling = 0  # pods with required anti-affinity, there or expected: of none nobody needs to look for them
        self.attracting = 0  # pods with affinity, or that would rather be alone: the same
        self._nominated: dict[str, dict[str, Pod]] = {}  # node name -> pods that are waiting for room on it
        self._users: dict[str, set[str]] = {}  # claim -> uids of the pods on nodes that use it
        self._nodes: dict[str, Node] = {}
        self._where: dict[str, str] = {}  # pod uid -> node name

    def nodes(self) -> list[Node]:
        """The nodes that exist."""
        return [node for node in self._nodes.values() if node.obj is not None]

    def node(self, name: str) -> Node | None:
        return self._nodes.get(name)

    def show_node(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        self._nodes.setdefault(name, Node(name)).show(obj)

    def forget_node(self, name: str) -> None:
        """The node is gone; its pods may be shown for a while longer."""
        node = self._nodes.get(name)
        if node is not None:
            node.obj = None
            self._drop_empty(node)

    def place(self, pod: Pod, name: str) -> None:
        """The pod is, or is assumed to be, on this node and nowhere else."""
        self.remove(pod.uid)
        self._nodes.setdefault(name, Node(name)).place(pod)
        self._where[pod.uid] = name
        self.repelling += bool(pod.anti_affinity)
        self.attracting += bool(pod.affinity or pod.near)
        for claim in pod.claims:
            self._users.setdefault(claim, set()).add(pod.uid)

    def remove(self, uid: str) -> None:
        """The pod is on no node (any longer)."""
        name = self._where.pop(uid, None)
        if name is not None:
            node = self._nodes[name]
            pod = node.pods[uid]
            self.repelling -= bool(pod.anti_affinity)
            self.attracting -= bool(pod.affinity or pod.near)
            for claim in pod.claims:
                self._users[claim].discard(uid)
                if not self._users[claim]:
                    del self._users[claim]
            node.remove(uid)
            self._drop_empty(node)

    def refresh(self, uid: str, obj: Object) -> None:
        """The pod is as it was in everything that is counted; ``obj`` is its newest state."""
        self._nodes[self._where[uid]].pods[uid].obj = obj

    def where(self, uid: str) -> str | None:
        """The name of the node the pod is on."""
        return self._where.get(uid)

    def users(self, claim: str) -> Set[str]:
        """Uids of the pods on nodes that use the claim."""
        return self._users.get(claim, frozenset())

    def nominate(self, pod: Pod, name: str | None) -> None:
        """Room is being made for the pod on this node; None: no longer."""
        self.forget_nomination(pod.uid)
        if name:
            self._nominated.setdefault(name, {})[pod.uid] = pod
            self.repelling += bool(pod.anti_affinity)

    def forget_nomination(self, uid: str) -> None:
        """The pod has its place, or needs none."""
        for node, pods in list(self._nominated.items()):
            pod = pods.pop(uid, None)
            if pod is not None:
                self.repelling -= bool(pod.anti_affinity)
                if not pods:
                    del self._nominated[node]

    @property
    def promised(self) -> bool:
        """Whether any pod waits for room on a node."""
        return bool(self._nominated)

    def nominated(self, name: str) -> list[Pod]:
        """The pods that wait for room on this node."""
        return list(self._nominated[name].values()) if name in self._nominated else []

    def _drop_empty(self, node: Node) -> None:
        if node.obj is None and not node.pods:
            del self._nodes[node.name]
