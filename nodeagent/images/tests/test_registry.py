"""Images on their way between us, a real registry, and skopeo: each reads what the others wrote."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from nodeagent.engine.contract import EngineError
from nodeagent.images import Images
from nodeagent.images.credentials import Credential
from nodeagent.images.tests import registry_server as server

pytestmark = pytest.mark.needs_root
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw, effective: as ping has it
LOGIN = Credential(server.USER, server.PASSWORD)


def a_tree(folder: Path) -> Path:
    """Whatever a tar can hold that is easily lost."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/su").write_bytes(b"#!" * 50_000)
    (folder / "bin/su").chmod(0o4755)
    os.link(folder / "bin/su", folder / "bin/again")
    (folder / "bin/ping").write_bytes(b"ping")
    os.setxattr(folder / "bin/ping", "security.capability", CAPABILITY)
    (folder / "link").symlink_to("bin/su")
    os.mkfifo(folder / "pipe")
    (folder / "old").mkdir()
    os.chown(folder / "old", 1234, 5678)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An OCI archive with two layers, the upper of which deletes a file and hides a folder of the lower."""
    images = Images(tmp_path / "made")
    images.build(a_tree(tmp_path / "tree"), "base:1", {"Env": ["A=1"]})
    upper = tmp_path / "upper"
    (upper / "old").mkdir(parents=True)
    os.setxattr(upper / "old", "trusted.overlay.opaque", b"y")
    (upper / "bin").mkdir()
    os.mknod(upper / "bin/ping", stat.S_IFCHR, os.makedev(0, 0))
    images.build(upper, "team/app:1", {"Cmd": ["/bin/su"]}, base="base:1")
    images.export("team/app:1", tmp_path / "app.tar")
    return tmp_path / "app.tar"


def check(images: Images, name: str) -> None:
    image = images.find(name)
    assert image is not None
    assert (image.config.cmd, image.config.env) == (("/bin/su",), (("A", "1"),))
    root = images.root(image.id)
    upper, lower = (Path(root.layers, layer) for layer in root.lower)
    su = (lower / "bin/su").stat()
    assert (stat.S_IMODE(su.st_mode), su.st_nlink, su.st_size) == (0o4755, 2, 100_000)
    assert os.getxattr(lower / "bin/ping", "security.capability") == CAPABILITY
    assert ((lower / "old").stat().st_uid, (lower / "old").stat().st_gid) == (1234, 5678)
    assert os.readlink(lower / "link") == "bin/su"
    assert (lower / "pipe").is_fifo()
    deleted = (upper / "bin/ping").lstat()
    assert (stat.S_ISCHR(deleted.st_mode), deleted.st_rdev) == (True, 0)
    assert os.getxattr(upper / "old", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
async def test_what_skopeo_pushes_is_pulled_whole(tmp_path, made, packing):
    with server.running(tmp_path / "registry") as host:
        server.push(made, f"{host}/team/app:1", "--format", "oci", "--dest-compress-format", packing)
        digest = json.loads(server.skopeo("inspect", "--tls-verify=false", f"docker://{host}/team/app:1"))["Digest"]
        images = Images(tmp_path / "images")
        by_tag = await images.pull(f"{host}/team/app:1")
        assert by_tag.digests == (f"{host}/team/app@{digest}",)
        check(images, f"{host}/team/app:1")
        assert (await images.pull(f"{host}/team/app@{digest}")).id == by_tag.id
        with pytest.raises(EngineError, match=f"{host}/team/app:2: not found"):
            await images.pull(f"{host}/team/app:2")


async def test_of_a_manifest_list_this_machine_s_image_is_taken(tmp_path, made):
    with server.running(tmp_path / "registry") as host:
        server.push(made, f"{host}/team/app:mine", "--format", "v2s2")
        described = server.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{host}/team/app:mine")
        inspected = json.loads(server.skopeo("inspect", "--tls-verify=false", f"docker://{host}/team/app:mine"))
        kind = json.loads(described)["mediaType"]
        entry = {"mediaType": kind, "size": len(described.encode()), "digest": inspected["Digest"]}
        listed = [{**entry, "platform": {"os": "linux", "architecture": each}} for each in ("amd64", "arm64")]
        kind = "application/vnd.docker.distribution.manifest.list.v2+json"
        server.put_manifest(f"{host}/team/app:1", {"schemaVersion": 2, "mediaType": kind, "manifests": listed})
        images = Images(tmp_path / "images")
        await images.pull(f"{host}/team/app:1")
        check(images, f"{host}/team/app:1")


async def test_a_registry_wants_a_password(tmp_path, made):
    auth = server.basic(tmp_path / "auth")
    with server.running(tmp_path / "registry", auth) as host:
        server.push(made, f"{host}/team/app:1", "--dest-creds", f"{server.USER}:{server.PASSWORD}")
        images = Images(tmp_path / "images")
        for wrong in ([], [Credential(server.USER, "wrong")]):
            with pytest.raises(EngineError, match="pull access denied"):
                await images.pull(f"{host}/team/app:1", wrong)
        await images.pull(f"{host}/team/app:1", [Credential("other", "wrong"), LOGIN])
        check(images, f"{host}/team/app:1")


async def test_a_registry_wants_a_token_from_elsewhere(tmp_path, made):
    """The registry itself checks the token: issuer, audience, signature and what it allows."""
    given: list[str] = []

    async def token(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {base64.b64encode(b'me:secret').decode()}":
            return web.Response(status=401)
        given.append(request.query["scope"])
        return web.json_response({"token": sign(request.query["scope"])})

    app = web.Application()
    app.router.add_get("/token", token)
    async with TestServer(app) as realm:
        auth, sign = server.tokens(tmp_path / "auth", str(realm.make_url("/token")))
        blobs = tmp_path / "registry"
        with server.running(blobs) as host:  # the same blobs, first without a lock
            server.push(made, f"{host}/team/app:1")
        with server.running(blobs, auth) as host:
            images = Images(tmp_path / "images")
            with pytest.raises(EngineError, match="failed to authorize"):
                await images.pull(f"{host}/team/app:1")
            await images.pull(f"{host}/team/app:1", [LOGIN])
            check(images, f"{host}/team/app:1")
            assert set(given) == {"repository:team/app:pull"}


async def test_mirrors_are_asked_in_their_order(tmp_path, made):
    with server.running(tmp_path / "registry") as host:
        server.push(made, f"{host}/team/app:1")
        images = Images(tmp_path / "images")
        mirrors = {"endpoints": [f"http://127.0.0.1:{server.free_port()}", f"http://{host}"]}
        (tmp_path / "images/registries.json").write_text(json.dumps({"registry.test": mirrors}))
        await images.pull("registry.test/team/app:1")
        check(images, "registry.test/team/app:1")


def test_skopeo_reads_what_is_exported(tmp_path, made):
    told = json.loads(server.skopeo("inspect", "--config", f"oci-archive:{made}"))
    assert told["config"] == {"Env": ["A=1"], "Cmd": ["/bin/su"]}
    assert len(json.loads(server.skopeo("inspect", f"docker-archive:{made}"))["Layers"]) == 2


def test_an_exported_image_comes_back_the_same(tmp_path, made):
    images = Images(tmp_path / "again")
    (image,) = images.import_archive(str(made))
    check(images, "team/app:1")
    images.export("team/app:1", tmp_path / "twice.tar")
    (same,) = images.import_archive(str(tmp_path / "twice.tar"))
    assert same.id == image.id
