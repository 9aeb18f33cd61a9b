"""Secrets for tokens are filled, and go with their account."""

from __future__ import annotations

import base64
from pathlib import Path

from shim.api import legacy_tokens
from shim.client import Client
from shim.client import resource as r
from shim.client.kubeconfig import Access
from shim.controllers.account_tokens import AccountTokens
from shim.controllers.tests.cluster import cluster


async def test_a_secret_gets_its_accounts_token_and_goes_with_it(tmp_path: Path) -> None:
    async with cluster(tmp_path) as here:
        await here.control(AccountTokens, service_account_private_key_file=tmp_path / "pki" / "sa.key")
        for name, account in (("t", "default"), ("lost", "nobody")):
            metadata = {"name": name, "annotations": {legacy_tokens.NAME: account}}
            secret = {"metadata": metadata, "type": legacy_tokens.TYPE}
            await here.client.create(r.SECRETS, secret, "default")
        await here.until(r.SECRETS, "lost", lambda found: found is None)
        filled = await here.until(r.SECRETS, "t", lambda found: found and "token" in (found.get("data") or {}))
        assert filled is not None
        assert set(filled["data"]) == {"ca.crt", "namespace", "token"}
        account = await here.client.get(r.SERVICEACCOUNTS, "default", "default")
        assert filled["metadata"]["annotations"][legacy_tokens.UID] == account["metadata"]["uid"]
        token = base64.b64decode(filled["data"]["token"]).decode()
        async with Client(Access(here.client.server, here.client.access.ca, token=token)) as client:
            who = await client.create(r.SELFSUBJECTREVIEWS, {})
        assert who["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
        await here.client.delete(r.SERVICEACCOUNTS, "default", "default")
        await here.until(r.SECRETS, "t", lambda found: found is None)
