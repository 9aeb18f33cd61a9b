"""``subPath``: which part of a volume a container mounts. What is in the volume is the pod's, and may be a link."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from nodeagent.kubelet.environment import expand
from nodeagent.kubelet.errors import ConfigError
from nodeagent.linux import beneath
from shim.api.meta import Object


def sub_path(mount: Object, values: Mapping[str, str]) -> str:
    """The part's path, in which the container's variables are known. Raises ConfigError."""
    below = str(mount.get("subPath") or "")
    if mount.get("subPathExpr"):
        named = re.findall(r"\$\$|\$\(([^)]*)\)", mount["subPathExpr"])
        if missing := sorted({name for name in named if name and not values.get(name)}):
            raise ConfigError(f"missing value for {', '.join(missing)}")
        below = expand(mount["subPathExpr"], values)
    if below.startswith("/"):
        raise ConfigError(f"error SubPath `{below}` must not be an absolute path")
    if ".." in PurePosixPath(below).parts:
        raise ConfigError(f"unable to provision SubPath `{below}`: must not contain '..'")
    return below


def make_sub_path(volume: Path, below: str, mount: Object, container: Object) -> None:
    """Have something there to mount, and nothing outside. Raises ConfigError, which tells nothing of the node."""
    of = f'volumeMount "{mount["name"]}" of container "{container["name"]}"'
    root = os.path.realpath(volume)
    path = os.path.realpath(volume / below)
    inside = path == root or path.startswith(root + "/")
    try:
        os.stat(volume / below)
    except FileNotFoundError:
        if not (inside and _made(volume, below)):
            raise ConfigError(f"failed to create subPath directory for {of}") from None
    except OSError:
        inside = False
    if not inside:
        raise ConfigError(f"failed to prepare subPath for {of}")


def _made(volume: Path, below: str) -> bool:
    try:
        top = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(beneath.folder(top, below, 0o750))
        finally:
            os.close(top)
    except OSError:
        return False
    return True
