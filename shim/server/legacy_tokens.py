"""Tokens that lie in Secrets: good while the Secret holds them; that one is used is written there, once a day."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from shim.api.keys import SERVICE_ACCOUNTS
from shim.api.legacy_tokens import CLAIMS, INVALID_SINCE, LAST_USED
from shim.api.meta import Object
from shim.server.accounts import Accounts, Refused
from shim.server.users import User, account_groups, split_account
from shim.store.cache import Cache
from shim.store.contract import Conflict, StoreError

log = logging.getLogger(__name__)

_MISSING = ("namespace", "secretName", "serviceAccountName", "serviceAccountUID")


class LegacyTokens:
    """Checks them."""

    def __init__(self, cache: Cache, accounts: Accounts, uses: Counter[str]) -> None:
        """``uses`` counts them."""
        self._cache, self._accounts, self._uses = cache, accounts, uses
        self._writes: set[asyncio.Task[None]] = set()

    def user(self, token: str, claims: dict[str, Any]) -> User:
        """Raises Refused."""
        values = [claims.get(name) or "" for name in CLAIMS]
        for value, what in zip(values, _MISSING, strict=True):
            if not value:
                raise Refused(f"{what} claim is missing")
        namespace, secret_name, name, uid = values
        if split_account(claims.get("sub", "")) != (namespace, name):
            raise Refused("sub claim is invalid")
        key = f"/registry/secrets/{namespace}/{secret_name}"
        entry = self._cache.get(key)
        secret: Object = entry.decode() if entry is not None else {}
        if not secret or secret["metadata"].get("deletionTimestamp"):
            raise Refused("Token has been invalidated")
        stored = base64.b64decode((secret.get("data") or {}).get("token") or "")
        if not hmac.compare_digest(stored, token.encode()):
            raise Refused("Token does not match server's copy")
        self._accounts.require_account(namespace, name, uid)
        labels = secret["metadata"].get("labels") or {}
        self._note_use(key, labels)
        if labels.get(INVALID_SINCE):
            self._uses["invalid_legacy_auto"] += 1
            raise Refused(
                f"the token in secret {namespace}/{secret_name} for service account {namespace}/{name} has been marked "
                "invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
                f"'{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )
        account = self._cache.get(f"{SERVICE_ACCOUNTS}{namespace}/{name}")
        own = account.decode().get("secrets") if account is not None else ()
        self._uses[
            "legacy_auto" if any(each.get("name") == secret_name for each in own or ()) else "legacy_manual"
        ] += 1
        return User(claims["sub"], account_groups(namespace), uid)

    def _note_use(self, key: str, labels: Object) -> None:
        today = datetime.now(UTC)
        days = [day.strftime("%Y-%m-%d") for day in (today, today + timedelta(days=1))]
        if labels.get(LAST_USED) in days:
            return
        task = asyncio.get_running_loop().create_task(self._write(key, days[0]))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, key: str, day: str) -> None:
        entry = self._cache.get(key)
        if entry is None:
            return
        secret = entry.decode()
        secret["metadata"].setdefault("labels", {})[LAST_USED] = day
        try:
            await self._cache.update(key, secret, expected=entry.revision)
        except Conflict:
            pass  # with its next use
        except (StoreError, TimeoutError) as error:
            log.warning("%s: its use is not written down: %s", key, error)
