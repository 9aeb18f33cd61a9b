"""What policies are made of: pods, and who may reach them on which ports. Values read from API objects.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from shim.api import selectors
from shim.api.meta import Object, key_of
from shim.api.selectors import Selector

TERMINAL = ("Succeeded", "Failed")
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A container port with a name; policies may name it instead of its number."""

    name: str
    protocol: str  # tcp, udp or sctp
    number: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with an address of its own."""

    key: str  # namespace/name
    uid: str
    namespace: str
    labels: Labels
    address: str
    local: bool  # on this node: its packets pass our rules
    ports: tuple[NamedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Pods:
    """Peers by their labels: pods of one namespace, or of those that a selector selects."""

    pods: Selector
    namespaces: Selector | None = None  # None: only the policy's own
    own: str = ""  # the policy's namespace, where that is the only one


@dataclass(frozen=True, slots=True)
class Block:
    """Peers by their addresses."""

    cidr: str
    excepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """Ports of one protocol: all of them (0 to 0), a range, or one by name."""

    protocol: str
    first: int = 0
    last: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One rule: any of these peers on any of these ports. No peers are all peers, no ports all ports."""

    peers: tuple[Pods | Block, ...] = ()
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed to the pods it selects. A direction of None is left as it is; one without rules is closed."""

    key: str
    namespace: str
    selects: Selector
    ingress: tuple[Allowed, ...] | None
    egress: tuple[Allowed, ...] | None


def pod_of(pod: Object, node: str) -> Pod | None:
    """The pod, while it has an IPv4 address of its own."""
    spec, status = pod["spec"], pod.get("status") or {}
    address = status.get("podIP") or ""
    if spec.get("hostNetwork") or not address or ":" in address or status.get("phase") in TERMINAL:
        return None
    metadata = pod["metadata"]
    return Pod(
        key=key_of(pod),
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        labels=metadata.get("labels") or {},
        address=address,
        local=spec.get("nodeName") == node,
        ports=tuple(_named_ports(spec)),
    )


def policy_of(policy: Object) -> Policy:
    """A NetworkPolicy that the API server has admitted."""
    spec, namespace = policy.get("spec") or {}, policy["metadata"]["namespace"]
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])

    def rules(direction: str, peers: str) -> tuple[Allowed, ...] | None:
        if direction.capitalize() not in types:
            return None
        return tuple(_allowed(rule, peers, namespace) for rule in spec.get(direction) or ())

    selects = selectors.from_object(spec.get("podSelector") or {})
    return Policy(key_of(policy), namespace, selects, rules("ingress", "from"), rules("egress", "to"))


def _named_ports(spec: Object) -> Iterator[NamedPort]:
    sidecars = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    for container in (*spec["containers"], *sidecars):
        for port in container.get("ports") or ():
            if port.get("name"):
                yield NamedPort(port["name"], (port.get("protocol") or "TCP").lower(), port["containerPort"])


def _allowed(rule: Object, peers: str, namespace: str) -> Allowed:
    return Allowed(
        tuple(_peer(peer, namespace) for peer in rule.get(peers) or ()),
        tuple(_port(port) for port in rule.get("ports") or ()),
    )


def _peer(peer: Object, namespace: str) -> Pods | Block:
    block = peer.get("ipBlock")
    if block:
        return Block(_network(block["cidr"]), tuple(_networks(block.get("except") or ())))
    pods = selectors.from_object(peer.get("podSelector") or {})
    if peer.get("namespaceSelector") is None:
        return Pods(pods, own=namespace)
    return Pods(pods, selectors.from_object(peer["namespaceSelector"]))


def _port(port: Object) -> Port:
    protocol, value = (port.get("protocol") or "TCP").lower(), port.get("port")
    if isinstance(value, str):
        return Port(protocol, name=value)
    return Port(protocol, value or 0, port.get("endPort") or value or 0)


def _networks(cidrs: Iterable[str]) -> Iterator[str]:
    return (_network(cidr) for cidr in cidrs if ":" not in cidr)


def _network(cidr: str) -> str:
    return cidr if ":" in cidr else str(IPv4Network(cidr, strict=False))
