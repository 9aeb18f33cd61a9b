"""Pulling: from a name to layers on this machine.

manifest ─> (of this machine's processor) ─> configuration ─> the layers that are not here, several at once ─> store

Whatever is fetched is checked against its digest before anything is made of it. A download that breaks off goes on
where it was, in this try or a later one. Several nodes share the images: a lock per blob lets one fetch it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import aiohttp

from nodeagent.engine.contract import EngineError, Image
from nodeagent.images import archive, reference
from nodeagent.images.archive import Found
from nodeagent.images.credentials import Credential
from nodeagent.images.endpoints import endpoints
from nodeagent.images.reference import Reference
from nodeagent.images.registry import LARGEST_MANIFEST, Denied, NotFound, Registry, RegistryError

LAYERS_AT_ONCE = 3  # per image; as other engines do
TRIES = 5  # for a blob whose connection breaks off
LOCK_RETRY = 0.1


class Store(Protocol):
    """What pulling needs of the images on this machine."""

    def find(self, reference_: str) -> Image | None: ...

    def tag(self, reference_: str, tag: str) -> str: ...

    def has_layer(self, diff_id: str) -> bool: ...

    def unpack(self, diff_id: str, open_layer: Callable[[], IO[bytes]]) -> None: ...

    def add(self, found: Found) -> Image: ...


async def pull(
    store: Store, folder: Path, name: str, credentials: Sequence[Credential]
) -> tuple[Image, Credential | None]:
    """The image, here from now on, and the credential that it took. Raises EngineError saying why not.

    Tries every endpoint, with each credential.
    """
    image = reference.parse(name)
    failed = f'failed to pull and unpack image "{image}"'
    problem: RegistryError | None = None
    async with _locked(folder, "name", str(image)), aiohttp.ClientSession(auto_decompress=False) as http:
        for endpoint in endpoints(image.domain, folder):
            for credential in [*credentials, None] if credentials else [None]:
                try:
                    registry = Registry(http, endpoint, image, credential)
                    return await _Pull(store, folder, image, registry).run(), credential
                except Denied as error:
                    problem = problem if isinstance(problem, Denied) else error
                except RegistryError as error:
                    problem = error
                    break
                except EngineError as error:
                    raise EngineError(f"{failed}: {error}") from error
    raise EngineError(f"{failed}: {problem}")


class _Pull:
    """One try, at one endpoint."""

    def __init__(self, store: Store, folder: Path, image: Reference, registry: Registry) -> None:
        self._store, self._image, self._registry = store, image, registry
        self._folder, self._downloads = folder, folder / "downloads"

    async def run(self) -> Image:
        wanted = self._image.digest or self._image.tag
        try:
            told = await self._registry.digest(wanted)  # though it be known: the registry says who may have it
            digest = self._image.digest or told
            if digest and (known := self._known(digest)):
                return known
            body = await self._registry.manifest(digest or wanted)
        except RegistryError as error:
            raise type(error)(f'failed to resolve reference "{self._image}": {error}') from error
        top = _checked(body, digest)
        manifest = await self._for_this_machine(json.loads(body))
        config = await self._small_blob(manifest["config"]["digest"])
        diff_ids = (json.loads(config).get("rootfs") or {}).get("diff_ids") or []
        if len(diff_ids) != len(manifest["layers"]):
            raise EngineError(f"the image lists {len(diff_ids)} layers and has {len(manifest['layers'])}")
        await self._layers(diff_ids, [layer["digest"] for layer in manifest["layers"]])
        name = self._image.tagged if self._image.tag else self._image.pinned
        found = Found(config, [name], top, [_removed] * len(diff_ids), pulled=True)
        return await asyncio.to_thread(self._store.add, found)

    def _known(self, digest: str) -> Image | None:
        """The image if it is here already; it gets its name."""
        known = self._store.find(f"{self._image.repository}@{digest}")
        if known is not None and self._image.tag:
            self._store.tag(known.id, self._image.tagged)
            return self._store.find(known.id)
        return known

    async def _for_this_machine(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Of an index, the manifest for this processor."""
        for _ in range(4):  # an index may lead to another
            if "manifests" not in manifest:
                if "config" not in manifest:
                    raise EngineError("the manifest is of no kind that can be read (schema 1?)")
                return manifest
            entry = next((e for e in manifest["manifests"] if archive.for_this_machine(e)), None)
            if entry is None:
                raise NotFound(f"no match for platform in manifest: {self._image}: not found")
            body = await self._registry.manifest(entry["digest"])
            _checked(body, entry["digest"])
            manifest = json.loads(body)
        raise EngineError("the image's index leads to ever more indexes")

    async def _small_blob(self, digest: str) -> bytes:
        async with _locked(self._folder, "blob", digest):
            path = await self._blob(digest, LARGEST_MANIFEST)
            body = path.read_bytes()
            path.unlink()
            return body

    async def _layers(self, diff_ids: list[str], digests: list[str]) -> None:
        """Fetch and unpack those that are not here, a few at once."""
        few = asyncio.Semaphore(LAYERS_AT_ONCE)

        async def fetch(diff_id: str, digest: str) -> None:
            async with few, _locked(self._folder, "blob", digest):
                if self._store.has_layer(diff_id):
                    return
                path = await self._blob(digest)
                await asyncio.to_thread(self._store.unpack, diff_id, archive.opener(path))
                path.unlink()

        try:
            async with asyncio.TaskGroup() as group:
                for pair in zip(diff_ids, digests, strict=True):
                    group.create_task(fetch(*pair))
        except ExceptionGroup as problems:
            raise problems.exceptions[0] from problems

    async def _blob(self, digest: str, most: int | None = None) -> Path:
        """A file with this blob, whole and checked: of ``most`` bytes, if told. Whoever asks holds its lock."""
        part = self._downloads / f"{archive.hex_of(digest)}.part"
        for attempt in range(TRIES):
            try:
                await self._fetch(digest, part, most)
                break
            except RegistryError:
                if attempt == TRIES - 1 or not part.exists():
                    raise
        await asyncio.to_thread(_check_file, part, digest)
        return part

    async def _fetch(self, digest: str, part: Path, most: int | None) -> None:
        begin = part.stat().st_size if part.exists() else 0
        async with self._registry.blob(digest, begin) as answer:
            with part.open("ab" if answer.status == 206 else "wb") as file:
                async for chunk in answer.content.iter_chunked(1 << 18):
                    file.write(chunk)
                    if most is not None and file.tell() > most:  # it is to be read into memory
                        part.unlink()
                        raise EngineError(f"blob {digest} is larger than {most} bytes")


def _removed() -> IO[bytes]:
    raise EngineError("a layer was removed while its image was pulled")


def _checked(body: bytes, digest: str) -> str:
    """The digest of a manifest. Raises EngineError if it is not the one that was asked for."""
    found = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if digest and digest != found:
        raise EngineError(f"manifest {digest} is damaged: its digest is {found}")
    return found


def _check_file(path: Path, digest: str) -> None:
    with path.open("rb") as file:
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if found != digest:
        path.unlink()
        raise EngineError(f"blob {digest} is damaged: its digest is {found}")


@contextlib.asynccontextmanager
async def _locked(folder: Path, kind: str, name: str) -> AsyncIterator[None]:
    """Alone with this name, among all processes of the machine.

    Lock files stay: removing one while another process waits for it would let two in. A few hundred serve all names.
    """
    locks = folder / "downloads" / "locks"
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = locks / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:2]}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_RETRY)  # nobody tells of its release
        yield
    finally:
        os.close(fd)
