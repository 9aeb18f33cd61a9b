"""How does a layer, a tar, become a folder that overlayfs can use as a lower directory?

A tar may come from anyone. Every name in it is looked up inside the layer's own folder by the kernel
(openat2 with RESOLVE_IN_ROOT): neither ``..`` nor a symlink unpacked a moment ago leads outside.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

from nodeagent.engine.contract import EngineError
from nodeagent.linux import beneath, libc

NAME_LENGTH = 20  # hex digits of a layer's folder: 128 of them must fit in one page of mount options
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
PAX_XATTR = "SCHILY.xattr."


class _Hashing:
    """A stream that knows the digest of what was read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._sha256.update(data)
        return data

    def digest(self) -> str:
        """Of all there is, to the end."""
        while self.read(1 << 20):
            pass
        return f"sha256:{self._sha256.hexdigest()}"


def folder_name(diff_id: str) -> str:
    """The folder of the layer whose uncompressed tar has this digest."""
    return diff_id.removeprefix("sha256:")[:NAME_LENGTH]


def keeps_xattr(name: str) -> bool:
    """Whether an extended attribute is the image's own; never trusted.*: overlayfs obeys those."""
    return name == "security.capability" or name.startswith("user.")


def unpacked_size(diff_id: str, layers: Path) -> int | None:
    """Of a layer that is there, the size in bytes."""
    target = layers / folder_name(diff_id)
    try:
        return int((layers / f"{target.name}.size").read_text()) if target.exists() else None
    except FileNotFoundError:
        return None


def unpack(stream: IO[bytes], diff_id: str, layers: Path) -> int:
    """Unpack an uncompressed tar into ``layers`` unless it is there already; returns its size in bytes.

    Raises EngineError when the content is not what ``diff_id`` says, or not to be trusted.
    """
    target = layers / folder_name(diff_id)
    sizes = layers / f"{target.name}.size"
    if (known := unpacked_size(diff_id, layers)) is not None:
        return known
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=layers))
    try:
        temporary.chmod(0o755)
        hashing = _Hashing(stream)
        root = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            size = _unpack(hashing, root)
        finally:
            os.close(root)
        found = hashing.digest()
        if found != diff_id:
            raise EngineError(f"layer {diff_id} is damaged: its content is {found}")
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        sizes.write_text(str(size))
        return size
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _unpack(stream: Any, root: int) -> int:
    size = 0
    folders: list[tuple[tarfile.TarInfo, str]] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
            for member in archive:
                name = os.path.normpath(member.name.lstrip("/"))
                if name == ".." or name.startswith("../") or "\0" in name:
                    raise EngineError(f"layer entry {member.name!r} points outside of the image")
                try:
                    _entry(archive, member, name, root)
                except OSError as error:
                    raise EngineError(f"layer entry {member.name!r}: {error.strerror}") from None
                if member.isdir():
                    folders.append((member, name))
                size += member.size if member.isreg() else 0
        for member, name in reversed(folders):  # last: what is put into a folder changes its time
            _stamp(member, name, root)
    except tarfile.TarError as error:
        raise EngineError(f"layer is not a tar: {error}") from None
    return size


def _parent(name: str, root: int) -> int:
    """The folder of ``name`` inside ``root``, made when the tar left it out."""
    try:
        return beneath.folder(root, os.path.dirname(name))
    except NotADirectoryError:
        raise EngineError(f"layer entry {name!r} lies below something that is no folder") from None


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, root: int) -> None:
    if name == ".":
        _attributes(member, ".", root)
        return
    parent = _parent(name, root)
    base = os.path.basename(name)
    try:
        if base == OPAQUE:
            os.setxattr(f"/proc/self/fd/{parent}", "trusted.overlay.opaque", b"y")
            return
        if base.startswith(WHITEOUT + WHITEOUT):
            return  # aufs' own bookkeeping
        if base.startswith(WHITEOUT):
            gone = base[len(WHITEOUT) :]
            if gone in ("", ".", ".."):  # the last would be the folder of all layers
                raise EngineError(f"layer entry {member.name!r} takes away nothing that has a name")
            _replace(gone, parent)
            os.mknod(gone, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)  # "deleted", to overlayfs
            return
        _make(archive, member, base, parent, root)
        if not member.islnk():
            _attributes(member, base, parent)
    finally:
        os.close(parent)


def _make(archive: tarfile.TarFile, member: tarfile.TarInfo, base: str, parent: int, root: int) -> None:
    if member.isdir():
        try:
            os.mkdir(base, 0o755, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode):
                _replace(base, parent)
                os.mkdir(base, 0o755, dir_fd=parent)
        return
    _replace(base, parent)
    if member.isreg():
        content = archive.extractfile(member)
        assert content is not None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(base, flags, 0o600, dir_fd=parent), "wb") as file:
            shutil.copyfileobj(content, file, 1 << 18)
    elif member.issym():
        os.symlink(member.linkname, base, dir_fd=parent)
    elif member.islnk():
        source = os.path.normpath(member.linkname.lstrip("/"))
        folder = libc.open_in_root(root, os.path.dirname(source) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link(os.path.basename(source), base, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(folder)
    elif member.isfifo():
        os.mkfifo(base, 0o600, dir_fd=parent)
    elif member.ischr() or member.isblk():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(base, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
    else:
        raise EngineError(f"layer entry {member.name!r} is of an unknown type {member.type!r}")


def _replace(base: str, parent: int) -> None:
    """Make room for a later entry of the same name."""
    try:
        os.unlink(base, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        shutil.rmtree(base, dir_fd=parent)


def _attributes(member: tarfile.TarInfo, base: str, parent: int) -> None:
    os.chown(base, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
    if not member.issym():
        os.chmod(base, member.mode & 0o7777, dir_fd=parent)  # after chown, which takes setuid away
    for key, value in member.pax_headers.items():
        if key.startswith(PAX_XATTR):
            name = key[len(PAX_XATTR) :]
            if keeps_xattr(name):
                data = value.encode("utf-8", "surrogateescape")
                os.setxattr(f"/proc/self/fd/{parent}/{base}", name, data, follow_symlinks=False)
    if not member.isdir():
        _utime(member, base, parent)


def _stamp(member: tarfile.TarInfo, name: str, root: int) -> None:
    parent = _parent(name, root) if name != "." else os.dup(root)
    try:
        _utime(member, os.path.basename(name) or ".", parent)
    except FileNotFoundError:  # a later entry took its place
        pass
    finally:
        os.close(parent)


def _utime(member: tarfile.TarInfo, base: str, parent: int) -> None:
    when = int(member.mtime * 1_000_000_000)
    os.utime(base, ns=(when, when), dir_fd=parent, follow_symlinks=False)
