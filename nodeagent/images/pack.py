"""How does a folder become a layer's tar? The way back from ``layers.py``, and how an image is built from a folder.

The same folder always makes the same tar: entries stand in the order of their names, owners are numbers only.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from pathlib import Path
from typing import IO

from nodeagent.images.layers import OPAQUE, PAX_XATTR, WHITEOUT, keeps_xattr

_OVERLAY_OPAQUE = "trusted.overlay.opaque"


class Packed:
    """A stream that knows the digest and size of what was written to it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self.size += len(data)
        return self._stream.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"


def pack(folder: Path, stream: IO[bytes]) -> Packed:
    """Write all that stands in ``folder`` as a tar; what overlayfs takes for deleted becomes a whiteout again."""
    packed = Packed(stream)
    first_names: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        _entry(tar, folder, "", first_names)
        for place, folders, files in os.walk(folder):
            folders.sort()
            below = os.path.relpath(place, folder)
            if _opaque(place):
                tar.addfile(_plain(os.path.normpath(os.path.join(below, OPAQUE))))
            for name in sorted([*folders, *files]):
                _entry(tar, Path(place, name), os.path.normpath(os.path.join(below, name)), first_names)
    return packed


def _entry(tar: tarfile.TarFile, path: Path, name: str, first_names: dict[tuple[int, int], str]) -> None:
    status = path.lstat()
    if stat.S_ISSOCK(status.st_mode):
        return  # a tar has no sockets
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(0, 0):
        head, base = os.path.split(name)
        tar.addfile(_plain(os.path.join(head, WHITEOUT + base)))
        return
    member = tarfile.TarInfo(name or ".")
    member.mode, member.uid, member.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    member.mtime = int(status.st_mtime)  # fractions differ between file systems
    member.pax_headers = _xattrs(path)
    identity = (status.st_dev, status.st_ino)
    if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1 and first_names.setdefault(identity, name) != name:
        member.type, member.linkname = tarfile.LNKTYPE, first_names[identity]
        member.pax_headers = {}
    elif stat.S_ISREG(status.st_mode):
        member.size = status.st_size
        with path.open("rb") as content:
            tar.addfile(member, content)
        return
    elif stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISFIFO(status.st_mode):
        member.type = tarfile.FIFOTYPE
    else:
        member.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
        member.devmajor, member.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    tar.addfile(member)


def _plain(name: str) -> tarfile.TarInfo:
    """An empty file whose name is all it says."""
    member = tarfile.TarInfo(name)
    member.mode = 0o600
    return member


def _xattrs(path: Path) -> dict[str, str]:
    names = [name for name in os.listxattr(path, follow_symlinks=False) if keeps_xattr(name)]
    values = {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(names)}
    return {PAX_XATTR + name: value.decode("utf-8", "surrogateescape") for name, value in values.items()}


def _opaque(folder: str) -> bool:
    try:
        return os.getxattr(folder, _OVERLAY_OPAQUE) == b"y"
    except OSError:
        return False
