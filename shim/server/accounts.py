"""Does what a token is bound to still exist? An account, a pod, a Secret or a node, by name and uid.

This is asked with every request, so that what was read of an object is remembered until the object changes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shim.api.keys import SERVICE_ACCOUNTS, prefix_of
from shim.api.meta import parse_time
from shim.store.cache import Cache

LEEWAY = timedelta(minutes=1)  # an object that is being deleted counts until a minute after its time, as upstream
REMEMBERED = 20_000


class Refused(Exception):
    """A token of a kind we know that is not (or no longer) good; the text is for reviewers and logs alone."""


class Life(NamedTuple):
    """Of an object: its uid, and when it ends, if it is being deleted."""

    revision: int
    uid: str
    ends: datetime | None

    def is_over(self) -> bool:
        return self.ends is not None and self.ends < datetime.now(UTC) - LEEWAY


class Accounts:
    """Judges references."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._lives: dict[str, Life] = {}

    def require_account(self, namespace: str, name: str, uid: str) -> None:
        """Raises Refused."""
        life = self._life(f"{SERVICE_ACCOUNTS}{namespace}/{name}")
        if life is None:
            raise Refused(f'serviceaccounts "{name}" not found')
        if life.uid != uid:
            raise Refused(f"service account UID ({life.uid}) does not match claim ({uid})")
        if life.is_over():
            raise Refused(f"service account {namespace}/{name} has been deleted")

    def require_bound(self, kind: str, resource: str, namespace: str, reference: dict[str, str]) -> None:
        """Raises Refused."""
        path = f"{namespace}/{reference['name']}" if namespace else reference["name"]
        life = self._life(prefix_of("", resource) + path)
        if life is None or (life.uid == reference.get("uid") and life.is_over()):
            raise Refused("service account token has been invalidated")
        if life.uid != reference.get("uid"):
            what = f"{kind} UID"
            given = reference.get("uid", "")
            raise Refused(f"{what} ({life.uid}) does not match service account {kind} ref claim ({given})")

    def _life(self, key: str) -> Life | None:
        entry = self._cache.get(key)
        if entry is None:
            self._lives.pop(key, None)
            return None
        life = self._lives.get(key)
        if life is None or life.revision != entry.revision:
            if len(self._lives) >= REMEMBERED:
                self._lives.clear()
            meta = entry.decode()["metadata"]
            ends = parse_time(meta["deletionTimestamp"]) if meta.get("deletionTimestamp") else None
            life = self._lives[key] = Life(entry.revision, meta["uid"], ends)
        return life
