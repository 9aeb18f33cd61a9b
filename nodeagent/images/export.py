"""An image as one file that others can read: an OCI archive (which skopeo, containerd and ``shim image import``
read) that is a docker-archive too (which ``docker load`` reads).

Layers are kept here unpacked, as overlayfs wants them; so each is packed again, and where its first packer wrote a
tar in another way than ours, it has another digest now, and so has the image.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from nodeagent.engine.contract import EngineError
from nodeagent.images import pack

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def export(config: dict[str, Any], layers: list[Path], tags: list[str], target: Path) -> str:
    """Write ``target``; the digest of the image's manifest in it. ``layers``: their folders, the lowest first."""
    draft = target.with_name(f".{target.name}.new")
    try:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as archive:
            described = [_layer(archive, folder) for folder in layers]
            diff_ids = [layer["digest"] for layer in described]
            body = json.dumps({**config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _blob(archive, body, _CONFIG),
                "layers": described,
            }
            entry = _blob(archive, json.dumps(manifest).encode(), _MANIFEST)
            named = [{**entry, "annotations": _names(tag)} for tag in tags] or [entry]
            _file(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            _file(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": named}).encode())
            docker = {
                "Config": _path(manifest["config"]["digest"]),  # type: ignore[index]
                "RepoTags": tags,
                "Layers": [_path(digest) for digest in diff_ids],
            }
            _file(archive, "manifest.json", json.dumps([docker]).encode())
        draft.replace(target)
    except OSError as error:
        raise EngineError(f"{target}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return str(entry["digest"])


def _layer(archive: tarfile.TarFile, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryFile() as stream:
        packed = pack.pack(folder, stream)
        stream.seek(0)
        member = tarfile.TarInfo(_path(packed.digest))
        member.size = packed.size
        if member.name not in archive.getnames():  # an image may have the same layer twice
            archive.addfile(member, stream)
    return {"mediaType": _LAYER, "digest": packed.digest, "size": packed.size}


def _names(tag: str) -> dict[str, str]:
    """The whole name is what containerd reads, the tag alone what OCI means."""
    return {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag.rpartition(":")[2]}


def _blob(archive: tarfile.TarFile, body: bytes, media_type: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    _file(archive, _path(digest), body)
    return {"mediaType": media_type, "digest": digest, "size": len(body)}


def _file(archive: tarfile.TarFile, name: str, body: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(body)
    archive.addfile(member, io.BytesIO(body))


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
