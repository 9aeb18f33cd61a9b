"""Which images need no network? Two, made from what this machine has: ``localhost/host`` and ``busybox``.

``localhost/host`` is the node's own programs: its /usr under an overlay, and beside it a layer made here with the
readable part of /etc and empty folders. Nothing else of the node is in it: not /root, /home, /var, nor /etc/shadow.
(An overlay over the whole of / cannot work: its upper layer would lie inside its lower one, and that would show all.)
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodeagent.engine.contract import EngineError, Image

if TYPE_CHECKING:
    from nodeagent.images.store import Images

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_CONFIG: dict[str, Any] = {"Cmd": ["/bin/sh"], "Env": [_PATH]}
NAMES = frozenset({"localhost/host:latest", "docker.io/library/busybox:latest", "docker.io/library/busybox:1.36"})
_PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr")  # links into usr, on most machines
_FOLDERS = {
    **dict.fromkeys(("dev", "home", "media", "mnt", "opt", "proc", "run", "srv", "sys"), 0o755),
    **dict.fromkeys(("var", "var/cache", "var/lib", "var/log", "var/spool"), 0o755),
    "root": 0o700,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
_LARGEST = 2 << 20  # of a file copied from /etc: configuration is small, binary databases are not


def host_layer(layers: Path) -> tuple[str, dict[str, str], int]:
    """Make the layer of ``localhost/host``: its name, the folders of the node laid over it, its size."""
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=layers))
    try:
        temporary.chmod(0o755)
        trees: dict[str, str] = {}
        for name in _PROGRAMS:
            source = Path("/", name)
            if source.is_symlink():
                (temporary / name).symlink_to(os.readlink(source))
            elif source.is_dir():
                (temporary / name).mkdir()
                trees[f"/{name}"] = str(source)
        for name, mode in _FOLDERS.items():
            (temporary / name).mkdir()
            (temporary / name).chmod(mode)
        (temporary / "var/run").symlink_to("/run")
        digest = hashlib.sha256(json.dumps(trees).encode())
        size = _copy_readable(Path("/etc"), temporary / "etc", digest)
        target = layers / f"host-{digest.hexdigest()[:12]}"
        if target.exists():  # nothing has changed: containers go on using that one
            shutil.rmtree(temporary)
        else:
            temporary.rename(target)
        return target.name, trees, size
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _copy_readable(source: Path, target: Path, digest: Any) -> int:
    """Copy what every user of the node may read: that is what a container may know."""
    target.mkdir(mode=0o755)
    size = 0
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        status = entry.stat(follow_symlinks=False)
        to = target / entry.name
        if entry.is_symlink():
            to.symlink_to(os.readlink(entry.path))
            digest.update(f"{to.name} -> {os.readlink(entry.path)}".encode("utf-8", "surrogateescape"))
        elif entry.is_dir() and status.st_mode & 0o005 == 0o005:
            size += _copy_readable(Path(entry.path), to, digest)
        elif entry.is_file() and status.st_mode & stat.S_IROTH and status.st_size <= _LARGEST:
            data = Path(entry.path).read_bytes()
            to.write_bytes(data)
            to.chmod(status.st_mode & 0o755)
            size += len(data)
            digest.update(f"{entry.path} {status.st_mode} {len(data)}\n".encode("utf-8", "surrogateescape"))
            digest.update(data)
    return size


def build_busybox(images: Images, program: str = "/bin/busybox") -> Image:
    """Make ``docker.io/library/busybox`` from a static busybox (Debian: package busybox-static)."""
    if not os.path.exists(program):
        raise EngineError(f"{program} is missing: install the package busybox-static")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    layer = _busybox_layer(Path(program).read_bytes(), listed.stdout.split())
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": [_PATH]},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    tags = ["busybox:latest", "busybox:1.36"]
    manifest = [{"Config": "config.json", "RepoTags": tags, "Layers": ["layer.tar"]}]
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, data in (("layer.tar", layer), ("config.json", config), ("manifest.json", manifest)):
                body = data if isinstance(data, bytes) else json.dumps(data, sort_keys=True).encode()
                _add(tar, name, data=body)
        file.flush()
        return images.import_archive(file.name)[0]


def _busybox_layer(program: bytes, applets: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in (
            *((name, 0o755) for name in ("bin", "dev", "etc", "home", "lib", "proc", "sbin", "sys", "usr", "usr/bin")),
            *((name, 0o755) for name in ("usr/sbin", "var", "var/www", "run")),
            *(("root", 0o700), ("tmp", 0o1777), ("var/tmp", 0o1777)),
        ):
            _add(tar, name, mode=mode, kind=tarfile.DIRTYPE)
        _add(tar, "bin/busybox", data=program, mode=0o755)
        for applet in applets:
            if applet != "busybox":
                _add(tar, f"bin/{applet}", kind=tarfile.LNKTYPE, link="bin/busybox", mode=0o755)
        _add(tar, "usr/bin/env", kind=tarfile.SYMTYPE, link="/bin/env")
        _add(
            tar,
            "etc/passwd",
            data=b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
            b"www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
        )
        _add(tar, "etc/group", data=b"root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnobody:x:65534:\n")
        _add(tar, "etc/shadow", data=b"root:*:::::::\n", mode=0o640)
        _add(tar, "etc/nsswitch.conf", data=b"passwd: files\ngroup: files\nhosts: files dns\n")
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile, name: str, *, data: bytes = b"", mode: int = 0o644, kind: bytes = b"", link: str = ""
) -> None:
    """Everything has time 0 and owner root, so the same busybox makes the same image."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.linkname = len(data), mode, link
    member.type = kind or tarfile.REGTYPE
    tar.addfile(member, io.BytesIO(data))
