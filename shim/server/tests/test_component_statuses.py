"""componentstatuses: what the scheduler and the controllers say of themselves, and whether the store answers."""

from __future__ import annotations

import ssl

from aiohttp import web

from shim.server.tests.conftest import serving

STATUSES = "/api/v1/componentstatuses"
SILENT = "127.0.0.1:1"  # where nobody listens
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def _condition(item) -> tuple[str, str]:
    [condition] = item["conditions"]
    assert condition["type"] == "Healthy"
    return condition["status"], condition["message"]


async def test_components_are_asked_how_they_are(tmp_path):
    codes = [200, 500]

    async def healthz(request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/healthz"
        return web.Response(status=codes.pop(0), text="ok")

    runner = web.ServerRunner(web.Server(healthz))
    await runner.setup()
    async with serving(tmp_path / "asked") as other:  # for a certificate
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(other.directory / "pki/apiserver.crt", other.directory / "pki/apiserver.key")
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    address = "{}:{}".format(*runner.addresses[0])
    try:
        async with serving(tmp_path, controllers_address=address, scheduler_address=SILENT) as api:
            listed = await api.get(STATUSES)
            failed = await api.get(f"{STATUSES}/controller-manager")
    finally:
        await runner.cleanup()
    assert listed.headers["Warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
    assert (listed.json["kind"], listed.json["metadata"]) == ("ComponentStatusList", {})
    found = {item["metadata"]["name"]: _condition(item) for item in listed.json["items"]}
    refused = f'Get "https://{SILENT}/healthz": dial tcp {SILENT}: connect: connection refused'
    assert found == {
        "scheduler": ("False", refused),
        "controller-manager": ("True", "ok"),
        "etcd-0": ("True", "ok"),
    }
    assert _condition(failed.json) == ("False", "HTTP probe failed with statuscode: 500")


async def test_components_are_found_listed_and_missed(api):
    one = await api.get(f"{STATUSES}/etcd-0")
    condition = {"type": "Healthy", "status": "True", "message": "ok"}
    assert one.json == {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": "etcd-0"},
        "conditions": [condition],
    }
    missing = await api.get(f"{STATUSES}/x")
    assert (missing.status, missing.message) == (404, 'componentstatus "x" not found')
    assert missing.json["details"] == {"name": "x", "kind": "componentstatus"}
    selected = await api.get(f"{STATUSES}?fieldSelector=metadata.name=etcd-0")
    assert [item["metadata"]["name"] for item in selected.json["items"]] == ["etcd-0"]
    rows = (await api.get(STATUSES, accept=TABLE)).json["rows"]
    assert [row["cells"] for row in rows if row["cells"][0] == "etcd-0"] == [["etcd-0", "Healthy", "ok", ""]]
