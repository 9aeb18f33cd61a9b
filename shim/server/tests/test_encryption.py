"""A server whose Secrets are sealed in its store, before and after its key is replaced."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

from shim.server import encryption
from shim.server.tests.conftest import serving

SECRETS = "/api/v1/namespaces/default/secrets"
CONFIG = """
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, things.example.com]
  providers:
{}
"""


def _key(name: str) -> str:
    secret = base64.b64encode(name.encode() * 32).decode()
    return f"  - aesgcm: {{keys: [{{name: {name}, secret: {secret}}}]}}\n"


async def test_secrets_are_sealed_and_a_replace_seals_them_anew(tmp_path: Path) -> None:
    config, data = tmp_path / "encryption.yaml", tmp_path / "data"
    flags = {"encryption_provider_config": config}
    config.write_text(CONFIG.format(_key("a") + "  - identity: {}\n"))
    async with serving(data, **flags) as api:
        await api.post(SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "correct horse"}})
        await api.post("/api/v1/namespaces/default/configmaps", api.configmap("c", data={"k": "battery staple"}))
    hidden = base64.b64encode(b"correct horse")
    on_disk = b"".join(path.read_bytes() for path in data.glob("store.db*"))
    assert hidden not in on_disk
    assert b"k8s:enc:aesgcm:v1:a:" in on_disk
    assert b"battery staple" in on_disk

    config.write_text(CONFIG.format(_key("b") + _key("a")))
    async with serving(data, **flags) as api:
        before = (await api.get(f"{SECRETS}/s")).json
        after = (await api.put(f"{SECRETS}/s", before)).json
        assert after["data"] == before["data"]
        assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        again = (await api.put(f"{SECRETS}/s", after)).json  # now there is nothing to be done
        assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    config.write_text(CONFIG.format(_key("b")))
    async with serving(data, **flags) as api:
        assert (await api.get(f"{SECRETS}/s")).json["data"]["k"].encode() == hidden


async def test_keys_are_replaced_while_the_server_runs(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(encryption, "INTERVAL", 0.02)
    config, data = tmp_path / "encryption.yaml", tmp_path / "data"
    config.write_text(CONFIG.format(_key("a")))

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in data.glob("store.db*"))

    flags = {"encryption_provider_config": config, "encryption_provider_config_automatic_reload": True}
    async with serving(data, **flags) as api:
        await api.post(SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
        config.write_text("nonsense")
        while f"reading it again: {config}: " not in caplog.text:  # noqa: ASYNC110  # the server's doing
            await asyncio.sleep(0.02)
        before = (await api.get(f"{SECRETS}/s")).json
        assert (await api.put(f"{SECRETS}/s", before)).json == before
        config.write_text(CONFIG.format(_key("b") + _key("a")))
        async with asyncio.timeout(30):
            while (after := (await api.put(f"{SECRETS}/s", before)).json) == before:  # until it was taken up
                pass
        assert after["data"] == before["data"]
        assert b"k8s:enc:aesgcm:v1:b:" in on_disk()
        assert (await api.put(f"{SECRETS}/s", after)).json == after  # there is nothing more to be done
        await api.post("/api/v1/namespaces/default/configmaps", api.configmap("c"))
    config.write_text(CONFIG.format(_key("b")))
    async with serving(data, **flags) as api:
        assert (await api.get(f"{SECRETS}/s")).json["data"] == before["data"]
