"""A packet's way to a Service, read from the rules that a node has: which chain, by which rule, how often. Pure.

What is shown is what the kernel has and counted, not what the compiler would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netproxy.services import chains
from netproxy.services.model import ServicePort


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with what it has counted."""

    text: str  # as iptables-save prints it, without -A CHAIN
    packets: int

    @property
    def target(self) -> str:
        found = re.search(r"-j (\S+)", self.text)
        return found[1] if found else ""

    def option(self, name: str) -> str:
        """The word after an option; empty where the rule has none."""
        found = re.search(rf"(?:^| ){re.escape(name)} (\S+)", self.text)
        return found[1] if found else ""


Table = Mapping[str, Sequence[Rule]]
"""chain -> rules"""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule on the way. ``share`` of the packets that reach its chain take it; None where it is a matter of what
    they are."""

    chain: str
    rule: Rule
    share: float | None = None


def parse(saved: str) -> dict[str, list[Rule]]:
    """The chains in what ``iptables-save -c`` prints of one table."""
    found: dict[str, list[Rule]] = {}
    for line in saved.splitlines():
        if line.startswith(":"):
            found[line[1:].split(" ", 1)[0]] = []
        elif match := re.match(r"\[(\d+):\d+\] -A (\S+) (.*)", line):
            found.setdefault(match[2], []).append(Rule(match[3], int(match[1])))
    return found


def entries(port: ServicePort, nat: Table, filters: Table) -> Iterator[tuple[str, Step]]:
    """(where packets go, the rule that takes them) for each address and port the Service is reached at."""
    shared = [(nat, chains.SERVICES), (nat, chains.NODE_PORTS)]
    shared += [(filters, chains.SERVICES), (filters, chains.EXTERNAL_SERVICES)]
    for table, chain in shared:
        for rule in table.get(chain, ()):
            number = rule.option("--dport")
            address = rule.option("-d").removesuffix("/32")
            ours = f'"{port.name} ' in rule.text or f'"{port.name}"' in rule.text
            if ours and rule.option("-p") == port.protocol and number in (str(port.port), str(port.node_port)):
                yield f"{address or 'node'}:{number}", Step(chain, rule)


def behind(step: Step, nat: Table) -> Iterator[Step]:
    """The rules of the chain that a step leads to, in the order in which a packet meets them."""
    if step.rule.target == chains.MARK_MASQ:
        return  # it does what its name says
    left = 1.0
    for rule in nat.get(step.rule.target, ()):
        share = None
        if rule.target.startswith("KUBE-SEP-") and "--rcheck" not in rule.text:
            share = left * float(rule.option("--probability") or 1)
            left -= share
        yield Step(step.rule.target, rule, share)


def leading_to(address: str, nat: Table) -> Iterator[list[Step]]:
    """Every way to a pod, from where packets come in to the rule that sends them there."""
    above: dict[str, list[Step]] = {}
    for chain, rules in nat.items():
        for rule in rules:
            above.setdefault(rule.target, []).append(Step(chain, rule))
    for last in above.get("DNAT", ()):
        if last.rule.option("--to-destination").rpartition(":")[0] == address:
            yield from _upwards([last], above)


def _upwards(way: list[Step], above: Mapping[str, Sequence[Step]]) -> Iterator[list[Step]]:
    chain = way[0].chain
    if chain in (chains.SERVICES, chains.NODE_PORTS) or chain not in above:
        yield way
        return
    for step in above[chain]:
        if step.chain not in {each.chain for each in way}:  # the same client again: another rule of the same chain
            yield from _upwards([step, *way], above)
