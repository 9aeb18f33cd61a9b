"""How does a machine that knows only a token know the cluster? What is published for it is signed with each token.

The signatures stand beside the cluster's address and CA in the ConfigMap ``cluster-info``, which anyone may read.
Tokens are deleted when their time is over.
"""

from __future__ import annotations

import datetime
import logging

from shim.api import bootstrap_tokens
from shim.api.bootstrap_tokens import BootstrapToken
from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

log = logging.getLogger(__name__)

INFO = f"{bootstrap_tokens.INFO_NAMESPACE}/{bootstrap_tokens.INFO_NAME}"


class _TokenController(Controller):
    """Follows the Secrets that keep bootstrap tokens."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        selector = f"type={bootstrap_tokens.TYPE}"
        self.secrets = ctx.informer(r.SECRETS, bootstrap_tokens.NAMESPACE, field_selector=selector)


class BootstrapSigner(_TokenController):
    """Keeps one signature in ``cluster-info`` for each token that may sign."""

    name = "bootstrap-signer"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.config_maps = ctx.informer(r.CONFIGMAPS)
        self.config_maps.on_change(self.config_map_changed)
        self.secrets.on_change(lambda old, new: self.queue.add(INFO))

    def config_map_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and key_of(new) == INFO:
            self.queue.add(INFO)

    async def reconcile(self, key: str) -> None:
        found = self.config_maps.get(INFO)
        data = (found or {}).get("data") or {}
        if found is None or bootstrap_tokens.INFO_KEY not in data:
            return
        others = {name: text for name, text in data.items() if not name.startswith(bootstrap_tokens.SIGNATURE_PREFIX)}
        content = data[bootstrap_tokens.INFO_KEY]
        signatures = {
            bootstrap_tokens.SIGNATURE_PREFIX + token.id: bootstrap_tokens.sign(content, token.id, token.secret)
            for token in map(_token, self.secrets.list())
            if token is not None and "signing" in token.usages and not token.is_expired(_present())
        }
        if others | signatures != data:
            await self.ctx.client.update(r.CONFIGMAPS, {**found, "data": others | signatures})


class TokenCleaner(_TokenController):
    """Deletes tokens that have expired."""

    name = "token-cleaner"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.secrets.on_change(self.secret_changed)

    def secret_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        secret = self.secrets.get(key)
        token = _token(secret) if secret is not None else None
        if secret is None or token is None or token.expires is None:
            return
        left = (token.expires - _present()).total_seconds()
        if left > 0:
            self.queue.add_after(key, left)
            return
        metadata = secret["metadata"]
        try:
            await self.ctx.client.delete(r.SECRETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another one of that name
                raise


def _token(secret: Object) -> BootstrapToken | None:
    try:
        return bootstrap_tokens.read(secret)
    except ValueError as error:
        log.info("%s: %s", key_of(secret), error)
        return None


def _present() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
