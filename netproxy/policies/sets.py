"""Keeps the kernel's address sets equal to those that the rules ask for, writing only what differs.

A set is filled before a rule asks for it, and emptied after rules have changed: in between more is allowed than
before or after, never less.
"""

from __future__ import annotations

from collections.abc import Mapping

from netproxy.links import ipset
from netproxy.policies import chains
from netproxy.policies.compiler import AddressSet


class KernelSets:
    """The sets of policies in this network namespace. In a thread without a running loop, and one at a time."""

    def __init__(self) -> None:
        self._known: dict[str, AddressSet] | None = None  # what the kernel has; None: to be read

    def extend(self, wanted: Mapping[str, AddressSet]) -> None:
        """Make the sets that are missing, and put missing members in. Raises OSError."""
        with ipset.connect() as kernel:
            known = self._read(kernel)
            for name, content in wanted.items():
                ipset.create(kernel, name, content.kind)
                ipset.add(kernel, name, content.kind, content.members - _members(known, name))
                known[name] = AddressSet(content.kind, content.members | _members(known, name))

    def reduce(self, wanted: Mapping[str, AddressSet]) -> None:
        """Take out members and remove sets that nobody asks for any more. Raises OSError."""
        with ipset.connect() as kernel:
            known = self._read(kernel)
            for name in known.keys() - wanted.keys():
                ipset.destroy(kernel, name)
                del known[name]
            for name, content in wanted.items():
                ipset.remove(kernel, name, content.kind, _members(known, name) - content.members)
                known[name] = content

    def forget(self) -> None:
        """Read what is there before the next change: one has failed half-way, or others may have changed it."""
        self._known = None

    def _read(self, kernel: ipset.Sets) -> dict[str, AddressSet]:
        if self._known is None:
            found = ipset.listed(kernel, chains.SETS)
            self._known = {name: AddressSet(kind, members) for name, (kind, members) in found.items()}
        return self._known


def _members(known: Mapping[str, AddressSet], name: str) -> frozenset[str]:
    return known[name].members if name in known else frozenset()
