"""What becomes of a packet by a set of rules: netfilter's way of reading them, in Python, for tests to compare.

Only what the proxy's rules use is understood; anything else is an error. Where chance or memory decides, all that may
come of it is told.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from netproxy.rules.family import ChainFamily, Rules, Ruleset


@dataclass(frozen=True)
class Packet:
    """The first one of a flow."""

    source: str
    destination: str
    port: int
    protocol: str = "udp"
    from_node: bool = False  # sent by the node itself, not by somebody beyond one of its links
    mark: int = 0
    translated: bool = False  # it has got another destination


@dataclass(frozen=True)
class Fate:
    """``sent`` to an address and port, with its own source or as the node's; ``refused``; ``dropped``."""

    what: str
    to: str = ""
    masqueraded: bool = False


@dataclass(frozen=True)
class Node:
    """What the kernel knows besides rules."""

    addresses: frozenset[str]  # its own


class Walk:
    """The ways of packets through one node."""

    def __init__(self, family: ChainFamily, rules: Ruleset, node: Node) -> None:
        self._node = node
        self._tables = {table: _with_jumps(family, table, chains) for table, chains in rules.items()}

    def fates(self, packet: Packet) -> set[Fate]:
        """All that may become of it."""
        first = "OUTPUT" if packet.from_node else "PREROUTING"
        return {fate for _, translated in self._through("nat", first, packet) for fate in self._filtered(translated)}

    def _filtered(self, packet: Packet) -> Iterator[Fate]:
        hook = "INPUT" if packet.destination in self._node.addresses else "FORWARD"
        for verdict, passed in self._through("filter", "OUTPUT" if packet.from_node else hook, packet):
            if verdict in ("DROP", "REJECT"):
                yield Fate("dropped" if verdict == "DROP" else "refused")
                continue
            for end, left in self._through("nat", "POSTROUTING", passed):
                yield Fate("sent", f"{left.destination}:{left.port}", end == "MASQUERADE")

    def _through(self, table: str, chain: str, packet: Packet) -> Iterator[tuple[str, Packet]]:
        """(verdict, the packet then) for every way through a chain; a built-in chain's last word is ACCEPT."""
        yield from self._from(table, self._tables[table].get(chain, ()), packet)

    def _from(self, table: str, rules: Sequence[str], packet: Packet) -> Iterator[tuple[str, Packet]]:
        if not rules:
            yield "RETURN", packet
            return
        matches, target, argument = _read(rules[0])
        for matched in self._matched(matches, packet):
            if matched:
                for verdict, after in self._do(table, target, argument, packet):
                    if verdict == "CONTINUE":
                        yield from self._from(table, rules[1:], after)
                    else:
                        yield verdict, after
            else:
                yield from self._from(table, rules[1:], packet)

    def _do(self, table: str, target: str, argument: str, packet: Packet) -> Iterator[tuple[str, Packet]]:
        match target:
            case "":
                yield "CONTINUE", packet
            case "ACCEPT" | "DROP" | "REJECT" | "RETURN" | "MASQUERADE":
                yield target, packet
            case "MARK":
                value, _, mask = argument.partition("/")
                yield "CONTINUE", replace(packet, mark=packet.mark & ~int(mask, 16) ^ int(value, 16))
            case "DNAT":
                address, _, port = argument.partition(":")
                yield "ACCEPT", replace(packet, destination=address, port=int(port), translated=True)
            case _:
                for verdict, after in self._from(table, self._tables[table][target], packet):
                    yield ("CONTINUE" if verdict == "RETURN" else verdict), after

    def _matched(self, matches: Sequence[tuple[bool, str, str]], packet: Packet) -> set[bool]:
        """Whether a rule matches: both, where it may or may not."""
        wanted = set()
        for negated, name, value in matches:
            answer = self._match(name, value, packet)
            wanted.add(None if answer is None else answer is not negated)
        if False in wanted:
            return {False}
        return {True, False} if None in wanted else {True}

    def _match(self, name: str, value: str, packet: Packet) -> bool | None:
        match name:
            case "-s":
                return ip_address(packet.source) in ip_network(value)
            case "-d":
                return ip_address(packet.destination) in ip_network(value)
            case "-p":
                return packet.protocol == value
            case "--dport":
                return packet.port == int(value)
            case "--mark":
                wanted, _, mask = value.partition("/")
                return packet.mark & int(mask, 16) == int(wanted, 16)
            case "--dst-type":
                return packet.destination in self._node.addresses or packet.destination.startswith("127.")
            case "--src-type":
                return packet.source in self._node.addresses or packet.source.startswith("127.")
            case "--ctstate":
                states = {"NEW", *(["DNAT"] if packet.translated else [])}
                return not states.isdisjoint(value.split(","))
            case "--probability" | "--rcheck":
                return None
            case "--set":
                return True
            case _:
                raise NotImplementedError(f"{name} {value}")


_MATCHES = ("-s", "-d", "-p", "--dport", "--mark", "--dst-type", "--src-type", "--ctstate", "--probability")
_FLAGS = ("--rcheck", "--set", "--reap", "--rsource", "--random-fully")
_IGNORED = ("-m", "--comment", "--mode", "--seconds", "--name", "--mask", "--reject-with")


def _read(rule: str) -> tuple[list[tuple[bool, str, str]], str, str]:
    """Matches as (negated, option, value), the target, and its argument."""
    words = iter(shlex.split(rule))
    matches: list[tuple[bool, str, str]] = []
    target = argument = ""
    negated = False
    for word in words:
        if word == "!":
            negated = True
            continue
        if word == "-j":
            target = next(words)
        elif word in ("--set-xmark", "--to-destination"):
            argument = next(words)
        elif word in _MATCHES:
            matches.append((negated, word, next(words)))
        elif word in _FLAGS:
            if word in ("--rcheck", "--set"):
                matches.append((negated, word, ""))
        elif word in _IGNORED:
            next(words)
        else:
            raise NotImplementedError(f"{word} in {rule}")
        negated = False
    return matches, target, argument


def _with_jumps(family: ChainFamily, table: str, chains: Mapping[str, Rules]) -> dict[str, list[str]]:
    """The built-in chains with the jumps in the order the kernel has them: each is put first."""
    tables: dict[str, list[str]] = {chain: list(rules) for chain, rules in chains.items()}
    for chain, jump in (jump.split(" ", 1) for jump in reversed(family.jumps[table])):
        tables.setdefault(chain, []).append(jump)
    return tables


def destinations(rules: Ruleset) -> set[tuple[str, int]]:
    """Every address and port that a rule speaks of; empty addresses for node ports."""
    found = set()
    for rule in itertools.chain.from_iterable(rules for chains in rules.values() for rules in chains.values()):
        options = {name: value for negated, name, value in _read(rule)[0] if not negated}
        if "--dport" in options:
            found.add((options.get("-d", "").removesuffix("/32"), int(options["--dport"])))
    return found
