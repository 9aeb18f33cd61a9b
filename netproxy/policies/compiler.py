"""From policies and pods to chains and address sets. Pure: the same input makes the same rules.

The way of a packet: KUBE-POLICIES lets answers pass, then sends the first packet of a connection to the chains of the
pod it comes from and of the pod it goes to, if those are on this node and isolated. There a rule that allows it
returns; what no rule has returned is dropped at the end. Rules ask for peers by sets of addresses, so that a pod that
comes or goes changes a set and no rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from netproxy.links import newcomers
from netproxy.policies import chains
from netproxy.policies.model import Allowed, Block, Labels, Pod, Pods, Policy, Port
from netproxy.rules.family import Rules, Ruleset

EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class AddressSet:
    """What a set in the kernel holds: texts as ``ipset`` prints them."""

    kind: str  # hash:ip, hash:net or hash:ip,port
    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Enforced:
    """All that this node's kernel needs for its policies."""

    rules: Ruleset
    sets: Mapping[str, AddressSet]


NOTHING = Enforced({chains.TABLE: {chains.POLICIES: ()}}, {})

ANSWERS = "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"


def compile_policies(policies: Sequence[Policy], pods: Sequence[Pod], namespaces: Mapping[str, Labels]) -> Enforced:
    """The chains of this node's isolated pods, and what they ask for. ``namespaces`` holds the labels of each."""
    if not policies:
        return NOTHING
    peers = _Peers(pods, namespaces)
    dispatch: list[str] = []
    own: dict[str, Rules] = {}
    for pod in sorted((pod for pod in pods if pod.local), key=lambda pod: pod.key):
        mine = [policy for policy in policies if policy.namespace == pod.namespace]
        mine = [policy for policy in mine if policy.selects.matches(pod.labels)]
        sent = [(rule, each.key) for each in mine for rule in each.egress or ()]
        accepted = [(rule, each.key) for each in mine for rule in each.ingress or ()]
        if any(policy.egress is not None for policy in mine):
            chain = chains.egress_chain(pod.key)
            dispatch.append(f"-s {pod.address}/32 -j {chain}")
            own[chain] = _closed(pod, "-d", (peers.to(rule, why) for rule, why in sent))
        if any(policy.ingress is not None for policy in mine):
            chain = chains.ingress_chain(pod.key)
            dispatch.append(f"-d {pod.address}/32 -j {chain}")
            own[chain] = _closed(pod, "-s", (peers.towards(pod, rule, why) for rule, why in accepted))
    held_back = tuple(f"-m set --match-set {newcomers.SET} {side} -j DROP" for side in ("src", "dst"))
    main = (ANSWERS, *held_back, *dispatch)
    return Enforced({chains.TABLE: {chains.POLICIES: main, **own}}, peers.sets)


def _closed(pod: Pod, side: str, allowed: Iterable[Iterator[str]]) -> Rules:
    """A chain of one pod: what is allowed returns, the rest ends here."""
    name = f'-m comment --comment "{pod.key}"'
    itself = f"{side} {pod.address}/32 {name} -j RETURN"  # by way of a Service; no policy can forbid it
    return (itself, *dict.fromkeys(rule for rules in allowed for rule in rules), f"{name} -j DROP")


@dataclass(slots=True)
class _Peers:
    """Makes the matches of rules, and the sets that they ask for."""

    pods: Sequence[Pod]
    namespaces: Mapping[str, Labels]
    sets: dict[str, AddressSet] = field(default_factory=dict)
    _selected: dict[Pods, list[Pod]] = field(default_factory=dict)

    def towards(self, pod: Pod, rule: Allowed, policy: str) -> Iterator[str]:
        """Rules for packets to ``pod``; it knows what its ports are called."""
        ports: list[Port | None] = [] if rule.ports else [None]
        for port in rule.ports:
            if port.name:
                ports += [Port(port.protocol, number, number) for number in _numbers(pod, port)]
            else:
                ports.append(port)
        if ports:  # otherwise none of its ports has that name
            for address, match in self._sources(rule, "-s", "src"):
                yield from (_rule(address, match, port, policy) for port in ports)

    def to(self, rule: Allowed, policy: str) -> Iterator[str]:
        """Rules for packets from a pod; what a port is called depends on whom they go to."""
        numbered: list[Port | None] = [port for port in rule.ports if not port.name] if rule.ports else [None]
        if numbered:
            for address, match in self._sources(rule, "-d", "dst"):
                yield from (_rule(address, match, port, policy) for port in numbered)
        selections = [peer for peer in rule.peers if isinstance(peer, Pods)]
        if rule.peers and not selections:
            return  # blocks of addresses have no names for ports
        found = [pod for peer in selections for pod in self._select(peer)] if rule.peers else self.pods
        for port in (port for port in rule.ports if port.name):
            members = frozenset(
                f"{pod.address},{port.protocol}:{number}" for pod in found for number in _numbers(pod, port)
            )
            name = chains.set_name(f"port {port.protocol} {port.name} of {_text(rule.peers)}")
            self.sets[name] = AddressSet("hash:ip,port", members)
            yield _rule("", f"-m set --match-set {name} dst,dst ", None, policy)

    def _sources(self, rule: Allowed, side: str, direction: str) -> Iterator[tuple[str, str]]:
        """For each kind of peers, how a rule names their addresses: in itself, or by a set."""
        if not rule.peers:
            yield "", ""
        selections = [peer for peer in rule.peers if isinstance(peer, Pods)]
        if selections:
            name = chains.set_name(_text(selections))
            members = frozenset(pod.address for peer in selections for pod in self._select(peer))
            self.sets[name] = AddressSet("hash:ip", members)
            yield "", f"-m set --match-set {name} {direction} "
        for block in (peer for peer in rule.peers if isinstance(peer, Block) and ":" not in peer.cidr):
            address = "" if block.cidr == EVERYWHERE else f"{side} {block.cidr} "
            if not block.excepted:
                yield address, ""
                continue
            name = chains.set_name(f"not {' '.join(block.excepted)}")
            self.sets[name] = AddressSet("hash:net", frozenset(map(_single, block.excepted)))
            yield address, f"-m set ! --match-set {name} {direction} "

    def _select(self, peer: Pods) -> list[Pod]:
        if peer not in self._selected:
            self._selected[peer] = [pod for pod in self.pods if self._is(pod, peer)]
        return self._selected[peer]

    def _is(self, pod: Pod, peer: Pods) -> bool:
        if peer.namespaces is None:
            there = pod.namespace == peer.own
        else:
            labels = self.namespaces.get(pod.namespace)
            there = labels is not None and peer.namespaces.matches(labels)
        return there and peer.pods.matches(pod.labels)


def _numbers(pod: Pod, port: Port) -> Iterator[int]:
    """What a pod means by a port's name."""
    return (named.number for named in pod.ports if (named.name, named.protocol) == (port.name, port.protocol))


def _rule(address: str, match: str, port: Port | None, policy: str) -> str:
    """One rule that lets a packet pass, in the order in which the kernel prints its parts."""
    protocol = f"-p {port.protocol} " if port else ""
    comment = f'-m comment --comment "{policy}" '
    number = ""
    if port and port.first:
        span = f"{port.first}" if port.last == port.first else f"{port.first}:{port.last}"
        number = f"-m {port.protocol} --dport {span} "
    return f"{address}{protocol}{comment}{match}{number}-j RETURN"


def _text(peers: Iterable[Pods | Block]) -> str:
    """What a set stands for, in words that no other has."""
    return " or ".join(
        f"pods {peer.pods} in {peer.own if peer.namespaces is None else f'namespaces {peer.namespaces}'}"
        for peer in peers
        if isinstance(peer, Pods)
    )


def _single(network: str) -> str:
    """An address alone is printed without its prefix."""
    return network.removesuffix("/32")
