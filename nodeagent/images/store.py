"""Which images are on this machine, and where are their layers?

    image_dir/index.json        images and tags; replaced as a whole, under the lock
    image_dir/configs/HEX       configurations, named by their digest: an image's id
    image_dir/layers/NAME       unpacked layers, each once however many images have it
    image_dir/uses/NAME         one file for each container: its image cannot be removed

Several agents read while another process imports: whoever reads sees the index before or after, never between.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from nodeagent.engine.contract import EngineError, Image, ImageConfig, ImageMissing, ImageRoot
from nodeagent.images import access, archive, builtin, export, layers, pack, pull, reference
from nodeagent.images.credentials import Credential


class ImageInUse(EngineError):
    """Some container is made of it."""


class Images:
    """See ``contract.ImageStore``."""

    def __init__(self, image_dir: Path) -> None:
        self._dir = Path(image_dir).absolute()
        self.folder = str(self._dir)
        self._index = self._dir / "index.json"
        self._layers = self._dir / "layers"
        for folder in (self._dir, self._layers, self._dir / "configs", self._dir / "uses"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._seen: tuple[int, int] = (0, 0)
        self._cached: dict[str, Any] = {"images": {}, "tags": {}}

    # Reading

    def find(self, reference_: str) -> Image | None:
        index = self._read()
        image_id = self._resolve(index, reference_)
        return self._image(index, image_id) if image_id else None

    def images(self) -> list[Image]:
        index = self._read()
        return [self._image(index, image_id) for image_id in index["images"]]

    def root(self, image: str) -> ImageRoot:
        record = self._read()["images"].get(image)
        if record is None:
            raise ImageMissing(f"no such image: {image}")
        return ImageRoot(str(self._layers), tuple(reversed(record["layers"])), dict(record["trees"]))

    def _read(self) -> dict[str, Any]:
        try:
            status = self._index.stat()
        except FileNotFoundError:
            return {"images": {}, "tags": {}}
        if self._seen != (status.st_ino, status.st_mtime_ns):
            self._cached = json.loads(self._index.read_bytes())
            self._seen = (status.st_ino, status.st_mtime_ns)
        return self._cached

    def _resolve(self, index: dict[str, Any], text: str) -> str | None:
        for image_id in (text, f"sha256:{text}"):
            if image_id in index["images"]:
                return image_id
        try:
            name = reference.parse(text)
        except reference.InvalidReference:
            return None
        if name.digest:
            return next((i for i, record in index["images"].items() if name.pinned in record["digests"]), None)
        found: str | None = index["tags"].get(name.tagged)
        return found

    def _image(self, index: dict[str, Any], image_id: str) -> Image:
        record = index["images"][image_id]
        tags = tuple(tag for tag, target in index["tags"].items() if target == image_id)
        config = record["config"]
        return Image(
            id=image_id,
            tags=tags,
            digests=tuple(record["digests"]),
            size=record["size"],
            config=ImageConfig(
                entrypoint=tuple(config.get("Entrypoint") or ()),
                cmd=tuple(config.get("Cmd") or ()),
                env=tuple((name, value) for name, _, value in (e.partition("=") for e in config.get("Env") or ())),
                cwd=config.get("WorkingDir") or "/",
                user=config.get("User") or "",
                stop_signal=config.get("StopSignal") or "SIGTERM",
            ),
            pulled=bool(record.get("pulled")),
        )

    # Changing

    def import_archive(self, path: str, tag: str = "") -> list[Image]:
        with archive.opened(path) as opened:
            found = archive.images(opened)
            if not found:
                raise EngineError(f"{path} has no image for this machine")
            if tag and len(found) > 1:
                raise EngineError(f"{path} has {len(found)} images: one tag cannot name them all")
            return [self._import(image, tag) for image in found]

    async def pull(self, reference_: str, credentials: Sequence[Credential] = ()) -> Image:
        image, credential = await pull.pull(self, self._dir, reference_, credentials)
        repository, before = reference.parse(reference_).repository, self._read()["images"][image.id].get("access")
        if access.opened(before, repository, credential) != before:
            with self._changing() as index:
                record = index["images"][image.id]
                record["access"] = access.opened(record.get("access"), repository, credential)
        return image

    def allowed(self, image: str, reference_: str, credentials: Sequence[Credential]) -> bool:
        record = self._read()["images"].get(image) or {}
        return access.allowed(record.get("access"), reference.parse(reference_).repository, credentials)

    def has_layer(self, diff_id: str) -> bool:
        return layers.unpacked_size(diff_id, self._layers) is not None

    def unpack(self, diff_id: str, open_layer: Callable[[], IO[bytes]]) -> None:
        """Have a layer here before its image is. Pods start meanwhile; nothing is collected."""
        with self._locked(fcntl.LOCK_SH), open_layer() as stream:
            layers.unpack(stream, diff_id, self._layers)

    def add(self, found: archive.Found) -> Image:
        """Keep an image that was found somewhere, by the names it has there."""
        return self._import(found, "")

    def _import(self, found: archive.Found, tag: str) -> Image:
        config = json.loads(found.config)
        diff_ids = config.get("rootfs", {}).get("diff_ids", [])
        if len(diff_ids) != len(found.layers):
            raise EngineError(f"the image lists {len(diff_ids)} layers and has {len(found.layers)}")
        names = [reference.parse(name) for name in ([tag] if tag else found.names)]
        digests = [f"{name.repository}@{found.manifest_digest}" for name in names] if found.manifest_digest else []
        with self._changing() as index:
            size = 0
            for diff_id, open_layer in zip(diff_ids, found.layers, strict=True):
                known = layers.unpacked_size(diff_id, self._layers)
                if known is None:
                    with open_layer() as stream:
                        known = layers.unpack(stream, diff_id, self._layers)
                size += known
            image_id = self._put_config(found.config)
            record = {
                "layers": [layers.folder_name(diff_id) for diff_id in diff_ids],
                "trees": {},
                "digests": sorted({*digests, *index["images"].get(image_id, {}).get("digests", ())}),
                "size": size,
                "config": config.get("config") or {},
                "pulled": found.pulled,
            }
            if "access" in (before := index["images"].get(image_id, {})):
                record["access"] = before["access"]
            self._put(index, image_id, record, [name.tagged for name in names if name.tag])
        return self._image(index, image_id)

    def host_image(self) -> Image:
        """``localhost/host``: the node's own programs. Made anew each time, with what the node has now."""
        with self._changing() as index:
            layer, trees, size = builtin.host_layer(self._layers)
            config = {"architecture": os.uname().machine, "os": "linux", "config": builtin.HOST_CONFIG, "layer": layer}
            image_id = self._put_config(json.dumps(config, sort_keys=True).encode())
            record = {"layers": [layer], "trees": trees, "digests": [], "size": size, "config": builtin.HOST_CONFIG}
            self._put(index, image_id, record, ["localhost/host:latest"])
        return self._image(index, image_id)

    def tag(self, reference_: str, tag: str) -> str:
        """Give an image one more name; the name in full. Raises ImageMissing, EngineError."""
        try:
            name = reference.parse(tag).tagged
        except reference.InvalidReference as error:
            raise EngineError(str(error)) from None
        with self._changing() as index:
            index["tags"][name] = self._known(index, reference_)
        return name

    def export(self, reference_: str, target: Path) -> str:
        """Write an image to one file, see ``export.py``; its manifest's digest. Raises ImageMissing, EngineError."""
        with self._locked(fcntl.LOCK_SH):  # nothing is collected meanwhile
            index = self._read()
            image_id = self._known(index, reference_)
            tags = [tag for tag, image in index["tags"].items() if image == image_id]
            config, folders = self._parts(index, image_id)
            return export.export(config, folders, tags, target)

    def build(self, folder: Path, tag: str, says: Mapping[str, Any], base: str = "") -> Image:
        """An image of what stands in ``folder``, on top of ``base``. Raises ImageMissing, EngineError.

        ``says``: what an image says of its process (``{"Cmd": [...]}``); what it leaves out is the base's.
        """
        index = self._read()
        config, below = self._parts(index, self._known(index, base)) if base else ({}, [])
        with tempfile.TemporaryDirectory(prefix=".build-", dir=self._dir) as scratch:
            tar = Path(scratch) / "layer.tar"
            with tar.open("wb") as stream:
                diff_id = pack.pack(folder, stream).digest
            diff_ids = [*(config.get("rootfs") or {}).get("diff_ids", ()), diff_id]
            body = {
                "architecture": archive.ARCHITECTURE,
                "os": "linux",
                **config,
                "config": {**(config.get("config") or {}), **says},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
            # the base's layers are here already: nothing is read of them
            openers = [*[_here] * len(below), archive.opener(tar)]
            return self._import(archive.Found(json.dumps(body).encode(), [tag], "", openers), "")

    def prune(self, *, kept: Callable[[Image], bool]) -> list[str]:
        """Remove every image that no container uses and nobody wants ``kept``; what went, as ``remove`` tells it."""
        gone: list[str] = []
        for image in self.images():
            if kept(image):
                continue
            with contextlib.suppress(ImageMissing, ImageInUse):
                gone += self.remove(image.id)
        return gone

    def used_at(self, image: str) -> float:
        """When a container was last made of it, or it came here."""
        return (self._dir / "configs" / image.removeprefix("sha256:")).stat().st_mtime

    def _known(self, index: dict[str, Any], reference_: str) -> str:
        """Its id. Raises ImageMissing."""
        image_id = self._resolve(index, reference_)
        if image_id is None:
            raise ImageMissing(f"no such image: {reference_}")
        return image_id

    def _parts(self, index: dict[str, Any], image_id: str) -> tuple[dict[str, Any], list[Path]]:
        """The whole configuration, and the folders of the layers, the lowest first. Raises EngineError."""
        record = index["images"][image_id]
        if record["trees"]:
            raise EngineError("localhost/host is made of this machine's own folders: it can go nowhere else")
        config = json.loads((self._dir / "configs" / image_id.removeprefix("sha256:")).read_bytes())
        return config, [self._layers / name for name in record["layers"]]

    def remove(self, reference_: str) -> list[str]:
        with self._changing() as index:
            image_id = self._known(index, reference_)
            tags = [tag for tag, target in index["tags"].items() if target == image_id]
            try:
                named = reference.parse(reference_).tagged
            except reference.InvalidReference:
                named = ""
            going = [named] if named in tags else tags  # by id or digest: all of its names
            if len(going) == len(tags):
                self._refuse_used(image_id)
            for tag in going:
                del index["tags"][tag]
            if len(going) < len(tags):
                return going
            del index["images"][image_id]
        self._collect()
        return [*going, image_id]

    def use(self, image: str, container_dir: str, *, wait: bool = True) -> None:
        with self._locked(fcntl.LOCK_SH if wait else fcntl.LOCK_SH | fcntl.LOCK_NB):
            if image not in self._read()["images"]:
                raise ImageMissing(f"no such image: {image}")
            self._use_of(container_dir).write_text(f"{image}\n{container_dir}\n")
            os.utime(self._dir / "configs" / image.removeprefix("sha256:"))  # see used_at

    def release(self, container_dir: str) -> None:
        self._use_of(container_dir).unlink(missing_ok=True)

    def _use_of(self, container_dir: str) -> Path:
        return self._dir / "uses" / hashlib.sha256(container_dir.encode()).hexdigest()[:32]

    def _refuse_used(self, image_id: str) -> None:
        for path in (self._dir / "uses").iterdir():
            used, container_dir = path.read_text().splitlines()
            if not os.path.exists(container_dir):
                path.unlink(missing_ok=True)  # the container has gone, and its engine went before it released the image
            elif used == image_id:
                raise ImageInUse(f"image is in use by container {os.path.basename(container_dir)}")

    def _put_config(self, config: bytes) -> str:
        digest = hashlib.sha256(config).hexdigest()
        (self._dir / "configs" / digest).write_bytes(config)
        return f"sha256:{digest}"

    def _put(self, index: dict[str, Any], image_id: str, record: dict[str, Any], tags: list[str]) -> None:
        index["images"][image_id] = record
        for tag in tags:
            index["tags"][tag] = image_id

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        fd = os.open(self._dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, kind)
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The index, written back when the ``with`` ends well."""
        with self._locked(fcntl.LOCK_EX):
            index = json.loads(json.dumps(self._read()))
            yield index
            temporary = self._dir / "index.new"
            temporary.write_text(json.dumps(index))
            temporary.replace(self._index)

    def _collect(self) -> None:
        """Remove layers and configurations that no image has."""
        with self._locked(fcntl.LOCK_EX):
            index = self._read()
            kept = {name for record in index["images"].values() for name in record["layers"]}
            for path in self._layers.iterdir():
                if path.name.removesuffix(".size") in kept:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            for path in (self._dir / "configs").iterdir():
                if f"sha256:{path.name}" not in index["images"]:
                    path.unlink()


def _here() -> IO[bytes]:
    raise EngineError("a layer of the base image was removed meanwhile")
