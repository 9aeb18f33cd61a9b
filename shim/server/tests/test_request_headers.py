"""A proxy in front names users; nobody else's headers are believed."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp

from shim import pki
from shim.server.tests.conftest import serving
from shim.settings import ApiServerSettings

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ALICE = {"X-Remote-User": "alice", "X-Remote-Group": "dev", "X-Remote-Uid": "u1", "X-Remote-Extra-Scope%2Fa": "read"}


def _client(directory: Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(directory / "pki" / "ca.crt"))
    context.load_cert_chain(directory / "pki" / f"{name}.crt", directory / "pki" / f"{name}.key")
    return context


async def _who(api, context, headers):
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(api.url + WHO, json={}, headers=headers) as answer,
    ):
        said = await answer.json()
        return said["status"]["userInfo"] if answer.status == 201 else said["message"]


async def test_a_proxy_is_believed_and_others_are_not(tmp_path: Path) -> None:
    pki.ensure_pki(tmp_path, addresses=[], service_ip="10.96.0.1")
    authority = tmp_path / "pki" / "front-proxy-ca.crt"
    assert ApiServerSettings(data_dir=tmp_path).requestheader_client_ca_file is None
    flags = {"requestheader_client_ca_file": authority, "requestheader_allowed_names": ("front-proxy-client",)}
    async with serving(tmp_path, **flags) as api:
        proxy = _client(tmp_path, "front-proxy-client")
        assert await _who(api, proxy, ALICE) == {
            "username": "alice",
            "uid": "u1",
            "groups": ["dev", "system:authenticated"],
            "extra": {"scope/a": ["read"]},
        }
        # the proxy itself is nobody, whatever its certificate says: it is not of the clients' CA
        assert 'User "system:anonymous"' in await _who(api, proxy, {})
        admin = await api.post(WHO, {}, headers={"X-Remote-User": "alice", "X-Remote-Group": "system:masters"})
        assert admin.json["status"]["userInfo"]["username"] == "kubernetes-admin"
        forged = await api.get("/api/v1/nodes", anonymous=True, headers=ALICE)
        assert 'User "system:anonymous"' in forged.message
    async with serving(tmp_path, **{**flags, "requestheader_allowed_names": ("another",)}) as api:
        assert 'User "system:anonymous"' in await _who(api, _client(tmp_path, "front-proxy-client"), ALICE)
