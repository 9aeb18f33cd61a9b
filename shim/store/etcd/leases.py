"""Writes that expire hang on leases of etcd's; those that expire at about the same time share one.

A lease costs etcd more than a write does: it is kept by the leader, and renewed after elections. So one is granted for
a little longer than is asked for, and given to all writes of the time that this wins, up to ``MOST``.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from shim.store.etcd.members import Members
from shim.store.etcd.messages import message

SHARE, LONGEST = 0.05, 60.0  # a key may outlive its ttl by this part of it, but no longer than so many seconds
MOST = 1000  # keys of one lease: etcd deletes them in one transaction


@dataclass(slots=True)
class _Lease:
    number: int
    ends: float  # by our clock, never later than by etcd's
    used: int = 0


class Leases:
    """The newest lease for each ttl that was asked for. Used from one event loop."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._newest: dict[float, _Lease] = {}
        self._granting = asyncio.Lock()

    async def of(self, ttl: float) -> int:
        """The number of a lease that lasts at least ``ttl`` seconds from now. Raises StoreError."""
        clock = asyncio.get_running_loop().time
        async with self._granting:
            lease = self._newest.get(ttl)
            if lease is None or lease.ends < clock() + ttl or lease.used >= MOST:
                lasts = math.ceil(ttl + min(SHARE * ttl, LONGEST))
                began = clock()
                # one that was granted but not answered is never used, and ends by itself
                granted = await self._members.read("Lease/LeaseGrant", message["LeaseGrantRequest"](TTL=lasts))
                lease = self._newest[ttl] = _Lease(granted.ID, began + lasts)
            lease.used += 1
            return lease.number

    def forget(self) -> None:
        """Use none of these again: etcd does not know one of them any more."""
        self._newest.clear()
