"""Chains that one part of the proxy fills alone, and how a packet gets to them. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Rules = tuple[str, ...]
Ruleset = dict[str, dict[str, Rules]]
"""table -> chain -> rules, each the text ``iptables-save`` prints for it, without ``-A CHAIN``"""


@dataclass(frozen=True, slots=True)
class ChainFamily:
    """The chains of one owner, by table; nobody else writes to them."""

    fixed: Mapping[str, tuple[str, ...]]
    """Chains that are always there."""
    hashed: Mapping[str, tuple[str, ...]]
    """Beginnings of the names of those that come and go."""
    jumps: Mapping[str, tuple[str, ...]]
    """From the built-in chains; each is put before those above it."""
    unordered: frozenset[str] = field(default=frozenset())
    """In these each rule matches packets no other does, but for ``last``, which stays the last where it is."""
    last: str = ""

    def owns(self, table: str, chain: str) -> bool:
        """Whether a chain is one of these."""
        return chain in self.fixed[table] or chain.startswith(self.hashed.get(table, ()))
