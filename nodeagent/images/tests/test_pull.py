"""Pulling from a registry that speaks the distribution protocol and has ways of its own to fail."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from aiohttp import web
from aiohttp.test_utils import TestServer

from nodeagent.engine.contract import EngineError
from nodeagent.images import Images, access, pull, reference
from nodeagent.images.credentials import Credential, fitting, of_config

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
LOGIN = Credential("me", "secret")


def layer(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class FakeRegistry:
    """``team/app:1``: an index, a manifest, one gzipped and one zstd layer. Counts what it is asked for."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.login = ""  # "basic" or "token": who asks must be LOGIN
        self.break_after = 0  # bytes of a blob's first answer
        self.url = ""
        tars = [layer("one", b"1" * 50_000), layer("two", b"2")]
        packed = [gzip.compress(tars[0]), zstandard.compress(tars[1])]
        self.large = self.put(packed[0])
        config = {"rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]}, "config": {"Cmd": ["x"]}}
        manifest = {
            "schemaVersion": 2,
            "config": {"digest": self.put(json.dumps(config).encode())},
            "layers": [{"digest": self.put(body), "size": len(body)} for body in packed],
        }
        other = {"digest": digest_of(b""), "platform": {"architecture": "pdp11", "os": "linux"}}
        ours = {
            "digest": self.put(json.dumps(manifest).encode()),
            "platform": {"architecture": ARCHITECTURE, "os": "linux"},
        }
        self.top = self.put(json.dumps({"schemaVersion": 2, "manifests": [other, ours]}).encode())

    def put(self, body: bytes) -> str:
        self.blobs[digest_of(body)] = body
        return digest_of(body)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/team/app/{kind}/{name}", self.answer)
        app.router.add_get("/token", self.token)
        return app

    async def token(self, request: web.Request) -> web.Response:
        assert request.query["scope"] == "repository:team/app:pull"
        if request.headers.get("Authorization") != basic():
            return web.Response(status=401)
        return web.json_response({"token": "good"})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind, name = request.match_info["kind"], request.match_info["name"]
        self.asked.append(f"{request.method} {kind}")
        told = request.headers.get("Authorization")
        if self.login == "basic" and told != basic():
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        if self.login == "token" and told != "Bearer good":
            challenge = f'Bearer realm="{self.url}/token",service="s",scope="repository:team/app:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        digest = self.top if (kind, name) == ("manifests", "1") else name
        body = self.blobs.get(digest)
        if body is None:
            return web.Response(status=404)
        begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
        response = web.StreamResponse(status=206 if begin else 200, headers={"Docker-Content-Digest": digest})
        response.content_length = len(body) - begin
        await response.prepare(request)
        if self.break_after and digest == self.large and not begin:
            await response.write(body[: self.break_after])
            assert request.transport is not None
            request.transport.close()
        elif request.method == "GET":
            await response.write(body[begin:])
        return response


def basic() -> str:
    return "Basic " + base64.b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()


@contextlib.asynccontextmanager
async def serving(fake: FakeRegistry, images: Path) -> Any:
    server = TestServer(fake.app())
    await server.start_server()
    fake.url = str(server.make_url("")).rstrip("/")
    images.mkdir(exist_ok=True)
    (images / "registries.json").write_text(json.dumps({"reg.test": {"endpoints": [fake.url]}}))
    try:
        yield
    finally:
        await server.close()


@pytest.fixture
async def fake(tmp_path):
    fake = FakeRegistry()
    async with serving(fake, tmp_path / "images"):
        yield fake


@pytest.fixture
def images(tmp_path, fake):
    return Images(tmp_path / "images")


async def test_an_image_is_pulled_once(images, fake, tmp_path):
    image = await images.pull("reg.test/team/app:1")
    assert image.tags == ("reg.test/team/app:1",)
    assert image.digests == (f"reg.test/team/app@{fake.top}",)
    assert (image.config.cmd, image.pulled) == (("x",), True)
    root = images.root(image.id)
    contents = [(Path(root.layers) / folder).iterdir() for folder in root.lower]
    assert sorted(path.name for folder in contents for path in folder) == ["one", "two"]
    assert not [path for path in (tmp_path / "images/downloads").iterdir() if path.is_file()]
    fake.asked.clear()
    assert (await images.pull("reg.test/team/app:1")).id == image.id
    assert fake.asked == ["HEAD manifests"]
    assert images.find(f"reg.test/team/app@{fake.top}") is not None


async def test_by_digest(images, fake):
    image = await images.pull(f"reg.test/team/app@{fake.top}")
    assert (image.tags, image.digests) == ((), (f"reg.test/team/app@{fake.top}",))


async def test_a_download_goes_on_where_it_broke_off(images, fake):
    fake.break_after = 40
    assert (await images.pull("reg.test/team/app:1")).pulled


@pytest.mark.parametrize("how", ["basic", "token"])
async def test_credentials(images, fake, how):
    fake.login = how
    with pytest.raises(EngineError, match=r"^failed to pull and unpack image .*: failed to resolve reference"):
        await images.pull("reg.test/team/app:1", [Credential("me", "wrong")])
    assert (await images.pull("reg.test/team/app:1", [Credential("me", "wrong"), LOGIN])).pulled


async def test_what_is_not_there_and_what_is_not_what_it_says(images, fake, tmp_path):
    with pytest.raises(EngineError) as caught:
        await images.pull("reg.test/team/app:2")
    assert str(caught.value) == (
        'failed to pull and unpack image "reg.test/team/app:2": failed to resolve reference "reg.test/team/app:2":'
        " reg.test/team/app:2: not found"
    )
    fake.blobs[fake.large] = b"something else"
    with pytest.raises(EngineError, match="is damaged"):
        await images.pull("reg.test/team/app:1")
    assert images.images() == []


async def test_nobody_answers(images, tmp_path):
    (tmp_path / "images/registries.json").write_text('{"reg.test": {"endpoints": ["http://127.0.0.1:1"]}}')
    with pytest.raises(EngineError) as caught:
        await images.pull("reg.test/team/app:1")
    assert str(caught.value).endswith(
        'failed to do request: Head "http://127.0.0.1:1/v2/team/app/manifests/1":'
        " dial tcp 127.0.0.1:1: connect: connection refused"
    )


@pytest.mark.parametrize("by", ["reg.test/team/app:1", "digest"])
async def test_an_image_that_took_a_credential_is_there_for_whoever_has_it(images, fake, by):
    """KEP-2535: another pod shows that it could have pulled it; the same Secret may change, others may say the same."""
    fake.login = "basic"
    name = f"reg.test/team/app@{fake.top}" if by == "digest" else by
    mine = LOGIN._replace(origin="ns/login/1")
    image = await images.pull(name, [mine])
    assert not images.allowed(image.id, name, ())
    assert not images.allowed(image.id, name, [Credential("me", "wrong", origin="other/login/2")])
    assert images.allowed(image.id, name, [LOGIN._replace(origin="other/copy/3")])
    assert images.allowed(image.id, name, [Credential("me", "changed", origin="ns/login/1")])
    assert not images.allowed(image.id, "elsewhere.test/team/app:1", [mine])

    fake.asked.clear()
    with pytest.raises(EngineError, match="authorization failed"):
        await images.pull(name, [Credential("me", "wrong", origin="other/login/2")])
    await images.pull(name, [LOGIN._replace(origin="other/copy/3")])
    assert not [what for what in fake.asked if what.endswith("blobs")]  # to ask is enough
    fake.login = ""
    await images.pull(name)  # the registry lets everybody have it by now
    assert images.allowed(image.id, name, ())


@pytest.mark.parametrize(
    ("policy", "asked"),
    [  # of an image that was pulled, one that was not, one of a repository that is listed
        ("NeverVerify", (False, False, False)),
        ("NeverVerifyPreloadedImages", (True, False, True)),
        ("NeverVerifyAllowlistedImages", (True, True, False)),
        ("AlwaysVerify", (True, True, True)),
    ],
)
def test_which_images_are_asked_about(policy, asked):
    found = access.Policy(policy, ["reg.test/one", "reg.test/team/*"])
    one = [found.asks("reg.test/other", pulled=pulled) for pulled in (True, False)]
    for listed in ("reg.test/one", "reg.test/team/app"):
        assert (*one, found.asks(listed, pulled=True)) == asked


def test_the_closest_credentials_come_first():
    auth = base64.b64encode(b"u:p").decode()
    config = {
        "auths": {
            "*.test": {"username": "wide", "password": "p"},
            "https://reg.test/v1/": {"auth": auth},
            "reg.test/team": {"username": "team", "password": "p"},
            "reg.test/te": {"username": "no", "password": "p"},
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
            "other.test": {"auth": "not base64!"},
        }
    }
    known = of_config(config)
    names = [credential.username for credential in fitting(known, reference.parse("reg.test/team/app:1"))]
    assert names == ["team", "u", "wide"]
    assert [c.username for c in fitting(known, reference.parse("busybox"))] == ["hub"]


async def test_what_is_read_into_memory_is_small(fake, images, monkeypatch):
    """Whoever may name an image may name a registry of his own, whose configurations never end."""
    monkeypatch.setattr(pull, "LARGEST_MANIFEST", 40)
    with pytest.raises(EngineError, match="is larger than 40 bytes"):
        await images.pull("reg.test/team/app:1")
