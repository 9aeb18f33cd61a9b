"""Keeps the kernel's rules equal to the compiled ones, writing only what differs.

What the kernel has is read once at the start, so rules of a former run are adopted, and then remembered. ``check``
reads again: rules that others have changed are put right.
"""

from __future__ import annotations

import logging

from netproxy import firewall
from netproxy.rules import render
from netproxy.rules.family import ChainFamily, Rules, Ruleset

log = logging.getLogger(__name__)


class KernelRules:
    """The chains of one family in this network namespace. Not for two threads at once."""

    def __init__(self, family: ChainFamily) -> None:
        self._family = family
        self._known: dict[str, dict[str, Rules]] | None = None  # what the kernel has; None: to be read
        self._jumps: dict[str, list[str]] = {}
        self._worded: dict[tuple[str, str], tuple[Rules, Rules]] = {}  # rules that this iptables prints differently

    def apply(self, wanted: Ruleset) -> bool:
        """Make the kernel's rules these. Returns whether anything had to change. Raises FirewallError."""
        known = self._known if self._known is not None else self._read(wanted)
        changed = False
        for step in render.steps(known, wanted):
            # the jumps come with the wanted rules: before them nothing leads to what is new
            text = render.script(self._family, known, step, self._jumps if step is wanted else {})
            if text:
                self._known = None  # unknown while it may have failed in one of the tables
                firewall.restore(text)
                changed = True
            known = step
        self._known, self._jumps = wanted, {}
        return changed

    def check(self, wanted: Ruleset) -> bool:
        """Put right what others have changed. Returns whether anything had to be."""
        found = self._read(wanted)
        if not render.script(self._family, found, wanted, self._jumps):
            self._known = wanted
            return False
        self._known = found
        self.apply(wanted)
        self._learn_wording(self._read(wanted), wanted)
        self._known, self._jumps = wanted, {}
        return True

    def _read(self, wanted: Ruleset) -> dict[str, dict[str, Rules]]:
        """The kernel's chains; those that do the same as the wanted ones are given in the wanted wording and order."""
        self._jumps = {}
        found: dict[str, dict[str, Rules]] = {}
        for table, chains in wanted.items():
            present, others = render.parse(self._family, firewall.save(table), table)
            self._jumps[table] = render.missing_jumps(self._family, table, others)
            for chain, rules in present.items():
                ours, theirs = self._worded.get((table, chain), (None, None))
                want = chains.get(chain)
                if want is not None and (
                    render.same(self._family, chain, rules, want) or (ours == want and theirs == rules)
                ):
                    present[chain] = want
            found[table] = present
        return found

    def _learn_wording(self, found: dict[str, dict[str, Rules]], wanted: Ruleset) -> None:
        """What differs right after it was written is the same in other words: do not write it again and again."""
        for table, chains in wanted.items():
            for chain, rules in chains.items():
                theirs = found[table].get(chain)
                if theirs is not None and theirs != rules:
                    log.info("this iptables words the rules of %s in its own way", chain)
                    self._worded[table, chain] = (rules, theirs)
