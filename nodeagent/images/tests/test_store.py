"""Archives come in, are found by every name, and go."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from nodeagent.engine.contract import EngineError, ImageMissing
from nodeagent.images import Images, build_busybox

pytestmark = pytest.mark.needs_root


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


BASE, TOP = tar({"base": b"1"}), tar({"top": b"22"})


def config(*layers: bytes, **more: Any) -> bytes:
    return json.dumps(
        {"config": more, "rootfs": {"diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]}}
    ).encode()


def docker_archive(path: Path, *tags: str, layers: tuple[bytes, ...] = (BASE, TOP), **more: Any) -> str:
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": names}]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": config(*layers, **more)}
    path.write_bytes(tar({**files, **dict(zip(names, layers, strict=True))}))
    return str(path)


def oci_layout(folder: Path, name: str) -> str:
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, Any]:
        (blobs / sha256(data)).write_bytes(data)
        return {"digest": f"sha256:{sha256(data)}", "size": len(data), "mediaType": "application/octet-stream"}

    layers = [put(gzip.compress(layer)) for layer in (BASE, TOP)]
    manifest = put(json.dumps({"config": put(config(BASE, TOP, Cmd=["/top"])), "layers": layers}).encode())
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    manifest["annotations"] = {"io.containerd.image.name": name}
    (folder / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    return str(folder)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "images")


def test_docker_archive(images, tmp_path):
    path = docker_archive(tmp_path / "a.tar", "app:v1", Entrypoint=["/x"], Env=["A=b=c"], User="7", StopSignal="SIGINT")
    (image,) = images.import_archive(path)
    assert image.tags == ("docker.io/library/app:v1",)
    assert image.size == 3
    assert (image.config.entrypoint, image.config.env, image.config.user) == (("/x",), (("A", "b=c"),), "7")
    assert image.config.stop_signal == "SIGINT"
    assert images.find("app:v1") == images.find(image.id) == images.find(image.id[7:]) == image
    assert images.find("app") is None
    assert images.find("Not A Name") is None
    root = images.root(image.id)
    assert [os.listdir(Path(root.layers, name)) for name in root.lower] == [["top"], ["base"]]


def test_gzipped_archive_with_a_tag_of_ones_own(images, tmp_path):
    docker_archive(tmp_path / "a.tar")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    (image,) = images.import_archive(str(tmp_path / "a.tar.gz"), "registry.test/me:1")
    assert image.tags == ("registry.test/me:1",)


def test_oci_layout_and_digest(images, tmp_path):
    (image,) = images.import_archive(oci_layout(tmp_path / "oci", "registry.test/app:v2"))
    assert image.tags == ("registry.test/app:v2",)
    (digest,) = image.digests
    assert images.find(digest) == image
    assert image.config.cmd == ("/top",)


def test_oci_archive(images, tmp_path):
    folder = Path(oci_layout(tmp_path / "oci", "app:v3"))
    with tarfile.open(tmp_path / "oci.tar", "w") as archive:
        archive.add(folder, ".")
    assert images.import_archive(str(tmp_path / "oci.tar"))[0].tags == ("docker.io/library/app:v3",)


def test_damaged_blob_is_refused(images, tmp_path):
    folder = Path(oci_layout(tmp_path / "oci", "app:v3"))
    manifest = json.loads((folder / "index.json").read_text())["manifests"][0]["digest"]
    (folder / "blobs/sha256" / manifest[7:]).write_text("{}")
    with pytest.raises(EngineError, match="damaged"):
        images.import_archive(str(folder))
    assert images.images() == []


@pytest.mark.parametrize(
    "content",
    [b"", b"not a tar at all" * 100, gzip.compress(b"neither"), tar({"a": b""})],
    ids=["nothing", "text", "text compressed", "another archive"],  # as the time is part of what is compressed
)
def test_what_is_no_archive(images, tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(EngineError):
        images.import_archive(str(tmp_path / "x"))
    with pytest.raises(EngineError):
        images.import_archive(str(tmp_path / "missing"))


def test_a_tag_moves_to_the_newer_image(images, tmp_path):
    (first,) = images.import_archive(docker_archive(tmp_path / "a.tar", "app"))
    (second,) = images.import_archive(docker_archive(tmp_path / "b.tar", "app", layers=(BASE,)))
    assert images.find("app").id == second.id
    assert images.find(first.id).tags == ()


def test_removal_takes_a_tag_then_the_image_and_its_own_layers(images, tmp_path):
    (image,) = images.import_archive(docker_archive(tmp_path / "a.tar", "one", "two"))
    (kept,) = images.import_archive(docker_archive(tmp_path / "b.tar", "base", layers=(BASE,)))
    assert images.remove("one") == ["docker.io/library/one:latest"]
    assert images.remove("two") == ["docker.io/library/two:latest", image.id]
    root = images.root(kept.id)
    assert sorted(os.listdir(root.layers)) == [root.lower[0], f"{root.lower[0]}.size"]
    with pytest.raises(ImageMissing):
        images.remove("two")


def test_an_image_in_use_stays(images, tmp_path):
    (image,) = images.import_archive(docker_archive(tmp_path / "a.tar", "app"))
    container = tmp_path / "containers/c1"
    container.mkdir(parents=True)
    images.use(image.id, str(container))
    with pytest.raises(EngineError, match="in use by container c1"):
        images.remove("app")
    container.rmdir()
    assert images.remove("app")


def test_of_containers_that_came_and_went_nothing_is_kept(images, tmp_path):
    (image,) = images.import_archive(docker_archive(tmp_path / "a.tar", "app"))
    for number in range(3):
        images.use(image.id, str(tmp_path / f"c{number}"))
        images.release(str(tmp_path / f"c{number}"))
    images.release("never heard of")
    assert list((tmp_path / "images" / "uses").iterdir()) == []


def test_another_process_sees_what_was_imported(images, tmp_path):
    other = Images(tmp_path / "images")
    assert other.images() == []
    images.import_archive(docker_archive(tmp_path / "a.tar", "app"))
    assert other.find("app") is not None


def test_busybox_is_the_same_each_time(images):
    image = build_busybox(images)
    assert build_busybox(images) == image
    assert image.tags == ("docker.io/library/busybox:latest", "docker.io/library/busybox:1.36")
    root = images.root(image.id)
    layer = Path(root.layers, root.lower[0])
    assert {"sh", "httpd", "wget", "nc", "nslookup"} <= set(os.listdir(layer / "bin"))
    assert (layer / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_host_image_has_no_secrets(images):
    image = images.host_image()
    assert images.host_image() == image
    root = images.root(image.id)
    layer = Path(root.layers, root.lower[0])
    assert "/usr" in root.trees
    assert (layer / "etc/passwd").exists()
    assert not (layer / "etc/shadow").exists()
    for name in ("root", "home", "run", "tmp", "var/lib"):
        assert os.listdir(layer / name) == []
    for folder, _, files in os.walk(layer / "etc"):
        assert all(os.lstat(os.path.join(folder, name)).st_mode & 0o004 for name in files)
