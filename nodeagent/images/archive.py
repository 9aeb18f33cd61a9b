"""What is in an image archive? docker-archive (``docker save``) and OCI archives or layout folders, read alike.

Each becomes a list of ``Found``: configuration, names, and how to open each layer.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard
from isal import igzip

from nodeagent.engine.contract import EngineError

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Found(NamedTuple):
    """An image in an archive."""

    config: bytes
    names: list[str]  # as the archive has them, not yet normal
    manifest_digest: str  # "" in a docker-archive
    layers: list[Callable[[], IO[bytes]]]  # open the uncompressed tar, the lowest first
    pulled: bool = False  # from a registry, which may be asked whether it has a newer one


class Archive:
    """Random access to the files of an archive, whatever it is packed in."""

    def __init__(self, folder: Path | None, tar: tarfile.TarFile | None) -> None:
        self._folder = folder
        self._tar = tar

    def open(self, name: str) -> IO[bytes]:
        """The file ``name``; EngineError when the archive lacks it."""
        try:
            if self._tar is not None:
                stream = self._tar.extractfile(self._resolve(name))
                if stream is None:
                    raise KeyError(name)
                return stream
            assert self._folder is not None
            path = (self._folder / name).resolve()
            if not path.is_relative_to(self._folder.resolve()):
                raise EngineError(f"archive entry {name!r} points outside of the archive")
            return path.open("rb")
        except (KeyError, FileNotFoundError, IsADirectoryError):
            raise EngineError(f"the archive lacks {name}") from None

    def _resolve(self, name: str) -> tarfile.TarInfo:
        assert self._tar is not None
        for spelling in (name, f"./{name}"):
            with contextlib.suppress(KeyError):
                member = self._tar.getmember(spelling)
                if member.issym():  # older docker save links layers that are the same
                    return self._tar.getmember(os.path.normpath(os.path.join(os.path.dirname(name), member.linkname)))
                return member
        raise KeyError(name)

    def json(self, name: str) -> Any:
        with self.open(name) as stream:
            try:
                return json.load(stream)
            except ValueError as error:
                raise EngineError(f"{name} in the archive is not JSON: {error}") from None

    def has(self, name: str) -> bool:
        try:
            self.open(name).close()
        except EngineError:
            return False
        return True


@contextlib.contextmanager
def opened(path: str) -> Iterator[Archive]:
    """The archive at ``path``: a folder, a tar, or a gzipped tar."""
    if os.path.isdir(path):
        yield Archive(Path(path), None)
        return
    try:
        with open(path, "rb") as file:
            magic = file.read(2)
            file.seek(0)
            if magic != b"\x1f\x8b":
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    yield Archive(None, tar)
                return
            with tempfile.TemporaryFile() as plain:  # a gzip cannot be read from the middle
                with igzip.open(file, "rb") as packed:
                    while data := packed.read(1 << 20):
                        plain.write(data)
                plain.seek(0)
                with tarfile.open(fileobj=plain, mode="r:") as tar:
                    yield Archive(None, tar)
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise EngineError(f"{path} is not an image archive: {error}") from None


def images(archive: Archive) -> list[Found]:
    """Every image in it for this machine's processor."""
    if archive.has("manifest.json"):  # docker save; newer ones are an OCI layout too, but this names the tags
        return [_docker(archive, entry) for entry in archive.json("manifest.json")]
    if archive.has("index.json"):
        return list(_oci(archive, archive.json("index.json"), []))
    raise EngineError("neither manifest.json nor index.json: this is not an image archive")


def _docker(archive: Archive, entry: dict[str, Any]) -> Found:
    with archive.open(entry["Config"]) as stream:
        config = stream.read()
    layers = [_opener(archive, name) for name in entry["Layers"]]
    return Found(config, list(entry.get("RepoTags") or []), "", layers)


def _oci(archive: Archive, index: dict[str, Any], names: list[str]) -> Iterator[Found]:
    for entry in index.get("manifests", []):
        annotations = entry.get("annotations") or {}
        name = annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name")
        own = [name] if name and (":" in name or "/" in name) else names  # a bare word there is a tag without a name
        if not for_this_machine(entry):
            continue
        body = _blob(archive, entry["digest"])
        manifest = json.loads(body)
        if entry.get("mediaType") in _INDEXES or "manifests" in manifest:
            yield from _oci(archive, manifest, own)
            continue
        layers = [_opener(archive, _blob_path(layer["digest"])) for layer in manifest["layers"]]
        yield Found(_blob(archive, manifest["config"]["digest"]), own, entry["digest"], layers)


def for_this_machine(entry: dict[str, Any]) -> bool:
    """Whether an index's entry is an image for this processor."""
    if (entry.get("annotations") or {}).get("vnd.docker.reference.type") == "attestation-manifest":
        return False
    platform = entry.get("platform") or {}
    return bool(platform.get("architecture", ARCHITECTURE) == ARCHITECTURE and platform.get("os", "linux") == "linux")


def hex_of(digest: str) -> str:
    """Of a digest that can be checked, the part that may name a file. Raises EngineError."""
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or not value.isalnum():
        raise EngineError(f"cannot check digest {digest!r}")
    return value


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _blob(archive: Archive, digest: str) -> bytes:
    with archive.open(_blob_path(digest)) as stream:
        body = stream.read()
    if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
        raise EngineError(f"blob {digest} is damaged")
    return body


def _opener(archive: Archive, name: str) -> Callable[[], IO[bytes]]:
    return lambda: _unpacked(archive.open(name))


def opener(path: Path) -> Callable[[], IO[bytes]]:
    """For a layer in a file of its own."""
    return lambda: _unpacked(path.open("rb"))


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    """The tar itself; how a layer is packed is told by its first bytes, whatever its media type says."""
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        unpacked: IO[bytes] = igzip.open(stream, "rb")
        return unpacked
    if magic == b"\x28\xb5\x2f\xfd":
        reader: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        return reader
    return stream
