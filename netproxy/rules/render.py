"""From rules to the text ``iptables-restore`` reads, and back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from netproxy.rules.family import ChainFamily, Rules, Ruleset

BATCH = 1000  # chains in one restore: what iptables-nft takes for one grows with the square of their number
FEW = 16  # changes to a shared chain are made rule by rule up to this many; more, and it is written anew


def steps(current: Mapping[str, Mapping[str, Rules]], wanted: Ruleset) -> Iterator[Ruleset]:
    """The rulesets to write one after another, the last of them ``wanted``.

    Most often that is all. Where many chains are new they are made and filled before anything leads to them, and where
    many are to go they are emptied and removed when nothing does any more; what packets meet changes in one step.
    """
    new, old = _only_in(wanted, current), _only_in(current, wanted)
    if len(new) > BATCH:
        yield from _growing(current, wanted, new)
    if len(old) > BATCH:
        for begin in range(0, len(old), BATCH):
            yield _with(wanted, old[begin:])
    yield wanted


def _growing(
    current: Mapping[str, Mapping[str, Rules]], wanted: Ruleset, new: Sequence[tuple[str, str]]
) -> Iterator[Ruleset]:
    """All new chains empty, for they jump to each other; then so many at a time as they are to be."""
    step = _with(current, new)
    yield step
    for begin in range(0, len(new), BATCH):
        step = {table: dict(chains) for table, chains in step.items()}
        for table, chain in new[begin : begin + BATCH]:
            step[table][chain] = wanted[table][chain]
        yield step


def _only_in(one: Mapping[str, Mapping[str, Rules]], other: Mapping[str, Mapping[str, Rules]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for table, chains in one.items():
        missing = chains.keys() - other.get(table, {}).keys()  # most often none: asked at every change of an endpoint
        if missing:
            found += [(table, chain) for chain in chains if chain in missing]
    return found


def _with(rules: Mapping[str, Mapping[str, Rules]], empty: Iterable[tuple[str, str]]) -> Ruleset:
    """The rules and, besides, these chains without any."""
    made = {table: dict(chains) for table, chains in rules.items()}
    for table, chain in empty:
        made.setdefault(table, {})[chain] = ()
    return made


def script(
    family: ChainFamily,
    current: Mapping[str, Mapping[str, Rules]],
    wanted: Ruleset,
    jumps: Mapping[str, Sequence[str]],
) -> str:
    """What brings the kernel from ``current`` to ``wanted``; empty when nothing does.

    ``jumps`` are the missing ones from built-in chains, in the order in which each is put first.
    """
    parts = []
    for table in wanted:
        lines = _table(family, current.get(table, {}), wanted[table])
        lines += [f"-I {jump}" for jump in jumps.get(table, ())]
        lines += _removals(current.get(table, {}), wanted[table])
        if lines:
            parts += [f"*{table}", *_declared_first(lines), "COMMIT"]
    return "\n".join([*parts, ""]) if parts else ""


def parse(family: ChainFamily, saved: str, table: str) -> tuple[dict[str, Rules], list[str]]:
    """Our chains in the output of ``iptables-save``, and all rules of the built-in ones."""
    found: dict[str, list[str]] = {}
    others = []
    for line in saved.splitlines():
        if line.startswith(":"):
            chain = line[1:].split(" ", 1)[0]
            if family.owns(table, chain):
                found[chain] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            if chain in found:
                found[chain].append(rule)
            else:
                others.append(f"{chain} {rule}")
    return {chain: tuple(rules) for chain, rules in found.items()}, others


def missing_jumps(family: ChainFamily, table: str, others: Sequence[str]) -> list[str]:
    """The jumps to our chains that are not there."""
    present = set(others)
    return [jump for jump in family.jumps[table] if jump not in present]


def same(family: ChainFamily, chain: str, one: Rules | None, other: Rules | None) -> bool:
    """Whether two versions of a chain do the same."""
    if one == other or one is None or other is None:
        return one == other
    if chain not in family.unordered or sorted(one) != sorted(other):
        return False
    return one[-1:] == other[-1:] or family.last not in one


def _table(family: ChainFamily, current: Mapping[str, Rules], wanted: Mapping[str, Rules]) -> list[str]:
    lines = []
    for chain, rules in wanted.items():
        before = current.get(chain)
        if before is rules or before == rules:
            continue
        lines += _stepwise(family, chain, before, rules) or [
            f":{chain} - [0:0]",
            *(f"-A {chain} {rule}" for rule in rules),
        ]
    return lines


def _stepwise(family: ChainFamily, chain: str, before: Rules | None, rules: Rules) -> list[str]:
    """The changes to a long chain whose order does not matter; none when it is better written anew."""
    if before is None or chain not in family.unordered or len(before) <= FEW:
        return []
    had, wants = set(before), set(rules)
    gone, new = had - wants, wants - had
    if len(gone) + len(new) > FEW or len(had) < len(before) or not gone | new:
        return []
    if (family.last in wants) != (family.last in had):
        return []
    return [
        *(f"-D {chain} {rule}" for rule in before if rule in gone),
        *(f"-I {chain} {rule}" for rule in rules if rule in new),
    ]


def _removals(current: Mapping[str, Rules], wanted: Mapping[str, Rules]) -> list[str]:
    """Chains must be empty before they can be removed, and nothing may jump to them."""
    old = [chain for chain in current if chain not in wanted]
    return [*(f":{chain} - [0:0]" for chain in old), *(f"-X {chain}" for chain in old)]


def _declared_first(lines: list[str]) -> list[str]:
    """Chains stand before rules: a rule can only jump to a chain that is there."""
    return [*(line for line in lines if line[0] == ":"), *(line for line in lines if line[0] != ":")]
