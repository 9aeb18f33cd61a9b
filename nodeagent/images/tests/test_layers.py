"""Layers are unpacked as overlayfs wants them, and nothing in a tar reaches outside."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nodeagent.engine.contract import EngineError
from nodeagent.images import layers

pytestmark = pytest.mark.needs_root


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.mode = kind, len(data), 0o644
    for key, value in fields.items():
        setattr(member, key, value)
    return member, data


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    folder = tmp_path / "layers"
    folder.mkdir()

    def unpacked(*entries: tuple[tarfile.TarInfo, bytes], diff_id: str = "") -> Path:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for member, data in entries:
                tar.addfile(member, io.BytesIO(data))
        digest = diff_id or f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
        buffer.seek(0)
        layers.unpack(buffer, digest, folder)
        return folder / layers.folder_name(digest)

    return unpacked


def test_files_keep_owner_mode_time_and_attributes(unpack):
    layer = unpack(
        entry("d", tarfile.DIRTYPE, mode=0o1777, mtime=5),
        entry("d/su", data=b"x", mode=0o4755, uid=12, gid=34, mtime=1.5,
              pax_headers={"SCHILY.xattr.user.a": "b", "SCHILY.xattr.trusted.overlay.opaque": "y"}),
        entry("d/hard", tarfile.LNKTYPE, linkname="d/su"),
        entry("soft", tarfile.SYMTYPE, linkname="/etc/passwd", uid=7),
        entry("dev", tarfile.CHRTYPE, devmajor=1, devminor=3),
    )  # fmt: skip
    status = (layer / "d/su").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime) == (12, 34, 0o4755, 1.5)
    assert os.listxattr(layer / "d/su") == ["user.a"]
    assert (layer / "d/hard").stat().st_ino == status.st_ino
    assert os.readlink(layer / "soft") == "/etc/passwd"
    assert (layer / "soft").lstat().st_uid == 7
    assert (layer / "dev").stat().st_rdev == os.makedev(1, 3)
    assert ((layer / "d").stat().st_mtime, stat.S_IMODE((layer / "d").stat().st_mode)) == (5, 0o1777)


def test_whiteouts_become_overlayfs_ones(unpack):
    layer = unpack(entry("d/.wh.gone"), entry("o/.wh..wh..opq"), entry("o/kept"), entry(".wh..wh.plnk/x"))
    gone = (layer / "d/gone").stat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(layer / "o", "trusted.overlay.opaque") == b"y"
    assert os.listdir(layer / "o") == ["kept"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x"])
def test_names_that_lead_outside_are_refused(unpack, name):
    with pytest.raises(EngineError, match="outside"):
        unpack(entry(name, data=b"x"))


def test_symlinks_are_followed_inside_the_layer_only(unpack, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    link = entry("link", tarfile.SYMTYPE, linkname=str(victim))
    layer = unpack(entry(f"{victim}/here"), link, entry("link/file", data=b"x", mode=0o600))
    assert list(victim.iterdir()) == []
    assert (layer / str(victim).lstrip("/") / "file").exists()
    layer = unpack(link, entry("link/file", data=b"x"))  # what the link means is made, in the layer
    assert (layer / str(victim).lstrip("/") / "file").exists()
    assert list(victim.iterdir()) == []


def test_a_hard_link_cannot_reach_the_node(unpack):
    with pytest.raises((EngineError, OSError)):
        unpack(
            entry("up", tarfile.SYMTYPE, linkname="../" * 20),
            entry("mine", tarfile.LNKTYPE, linkname="up/etc/hostname"),
        )


def test_a_later_entry_replaces_an_earlier_one(unpack):
    layer = unpack(
        entry("a", tarfile.SYMTYPE, linkname="/etc/passwd"), entry("a", data=b"file"),
        entry("d", tarfile.DIRTYPE), entry("d/x", data=b""), entry("d", data=b"now a file"),
    )  # fmt: skip
    assert (layer / "a").read_text() == "file"
    assert not (layer / "a").is_symlink()
    assert (layer / "d").read_text() == "now a file"


def test_damage_is_noticed_and_leaves_nothing(unpack, tmp_path):
    with pytest.raises(EngineError, match="damaged"):
        unpack(entry("a"), diff_id="sha256:" + "0" * 64)
    assert os.listdir(tmp_path / "layers") == []
