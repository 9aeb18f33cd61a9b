"""New pods of this node that nothing is forwarded for yet, because the rules of policies do not know them.

The pod network puts an address in when it gives it to a pod; who enforces policies takes it out once it is in its
rules. The set is there only while there are policies: without it nobody waits.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from netproxy.links import ipset

SET, KIND = "KUBE-NEW-PODS", "hash:ip"


def begin() -> None:
    """From now on new pods wait."""
    with ipset.connect() as kernel:
        ipset.create(kernel, SET, KIND)


def end() -> None:
    """There is nothing to wait for any more. No rule may ask the set."""
    with ipset.connect() as kernel:
        ipset.destroy(kernel, SET)


def hold_back(address: str) -> bool:
    """Let a pod that is about to get this address wait. Whether there is anything to wait for."""
    if not ipset.exists(SET):
        return False
    with ipset.connect() as kernel:
        try:
            ipset.add(kernel, SET, KIND, [address])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return False  # the last policy has just gone
    return True


def admit(addresses: Iterable[str]) -> None:
    """Packets of these are forwarded from now on, as far as the rules allow them."""
    with ipset.connect() as kernel:
        ipset.remove(kernel, SET, KIND, addresses)


def waits(address: str) -> bool:
    """Whether packets of this pod are still held back."""
    with ipset.connect() as kernel:
        return ipset.holds(kernel, SET, address)
