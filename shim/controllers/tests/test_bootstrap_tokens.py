"""What a machine needs to join is published, signed with every token, and tokens end in time."""

from __future__ import annotations

import datetime
from pathlib import Path

from shim.api import bootstrap_tokens
from shim.api.bootstrap_tokens import BootstrapToken
from shim.client import resource as r
from shim.controllers.bootstrap_tokens import BootstrapSigner, TokenCleaner
from shim.controllers.joining import JoiningController
from shim.controllers.tests.cluster import cluster


async def test_what_is_published_is_signed_with_each_token_while_it_lasts(tmp_path: Path) -> None:
    async with cluster(tmp_path, account=False) as here:
        await here.control(JoiningController, BootstrapSigner, TokenCleaner, public_url="https://192.0.2.1:6443")
        present = datetime.datetime.now(datetime.UTC)
        lasting = BootstrapToken("aaaaaa", "0123456789abcdef", present + datetime.timedelta(hours=1))
        late = BootstrapToken("bbbbbb", "0123456789abcdef", present - datetime.timedelta(seconds=1))
        silent = BootstrapToken("cccccc", "0123456789abcdef", usages=("authentication",))
        for token in (lasting, late, silent):
            await here.client.create(r.SECRETS, token.stored())
        info = await here.until(
            r.CONFIGMAPS,
            "cluster-info",
            lambda found: found and "jws-kubeconfig-aaaaaa" in found["data"],
            "kube-public",
        )
        assert info is not None
        kubeconfig = info["data"].pop("kubeconfig")
        assert "server: https://192.0.2.1:6443" in kubeconfig
        signature = bootstrap_tokens.sign(kubeconfig, "aaaaaa", "0123456789abcdef")
        assert info["data"] == {"jws-kubeconfig-aaaaaa": signature}
        await here.until(r.SECRETS, "bootstrap-token-bbbbbb", lambda found: found is None, "kube-system")
        await here.client.delete(r.SECRETS, "bootstrap-token-aaaaaa", "kube-system")
        await here.until(
            r.CONFIGMAPS, "cluster-info", lambda found: found and list(found["data"]) == ["kubeconfig"], "kube-public"
        )
