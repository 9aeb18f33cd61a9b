"""Who fills Secrets of type ``kubernetes.io/service-account-token``? They get a token of the account they name.

A Secret whose account is gone (or is another of the same name) goes too.
"""

from __future__ import annotations

import base64

from shim.api import legacy_tokens
from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.api.token_keys import SigningKey
from shim.client import resource as r
from shim.controllers.loop import Context, Controller


class AccountTokens(Controller):
    """Follows accounts and such Secrets. Without a key to sign with it does nothing."""

    name = "serviceaccount-token"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        settings = ctx.settings
        key = settings.service_account_private_key_file
        self.key = SigningKey(key.read_bytes()) if key is not None else None
        ca = settings.root_ca_file.read_bytes() if settings.root_ca_file else ctx.client.access.ca or b""
        self.ca = base64.b64encode(ca).decode()
        self.secrets = ctx.informer(r.SECRETS, field_selector=f"type={legacy_tokens.TYPE}")
        self.accounts = ctx.informer(r.SERVICEACCOUNTS)
        if self.key is not None:
            self.secrets.add_indexer("account", _account_key)
            self.secrets.on_change(self.secret_changed)
            self.accounts.on_change(self.account_changed)

    def secret_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    def account_changed(self, old: Object | None, new: Object | None) -> None:
        account = new or old
        if account is not None and (old is None or new is None):
            for secret in self.secrets.by("account", key_of(account)):
                self.queue.add(key_of(secret))

    async def reconcile(self, key: str) -> None:
        secret = self.secrets.get(key)
        if secret is None or self.key is None or secret["metadata"].get("deletionTimestamp"):
            return
        metadata = secret["metadata"]
        annotations = metadata.get("annotations") or {}
        account = await self._account(metadata["namespace"], annotations.get(legacy_tokens.NAME, ""))
        uid = annotations.get(legacy_tokens.UID)
        if account is None or (uid and uid != account["metadata"]["uid"]):
            await self._delete(secret)
            return
        data = dict(secret.get("data") or {})
        wanted = {"ca.crt": self.ca, "namespace": base64.b64encode(metadata["namespace"].encode()).decode()}
        if not data.get("token"):
            token = self.key.sign(legacy_tokens.claims(account, metadata["name"]))
            wanted["token"] = base64.b64encode(token.encode()).decode()
        named = {legacy_tokens.UID: account["metadata"]["uid"]}
        if not wanted.items() <= data.items() or not uid:
            filled = {**metadata, "annotations": {**annotations, **named}}
            await self.ctx.client.update(r.SECRETS, {**secret, "metadata": filled, "data": {**data, **wanted}})

    async def _account(self, namespace: str, name: str) -> Object | None:
        """From the copy; where that has none, the server is asked, as the copy may only be late."""
        if found := self.accounts.get(f"{namespace}/{name}"):
            return found
        try:
            return await self.ctx.client.get(r.SERVICEACCOUNTS, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    async def _delete(self, secret: Object) -> None:
        metadata = secret["metadata"]
        try:
            await self.ctx.client.delete(r.SECRETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _account_key(secret: Object) -> list[str]:
    metadata = secret["metadata"]
    name = (metadata.get("annotations") or {}).get(legacy_tokens.NAME)
    return [f"{metadata['namespace']}/{name}"] if name else []
