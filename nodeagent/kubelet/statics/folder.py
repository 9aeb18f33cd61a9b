"""Which static pods does this node's folder ask for? It is read whenever something in it changes, and now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from nodeagent.kubelet.statics.manifest import LARGEST, InvalidManifest, check_size, static_pod
from nodeagent.linux import inotify
from shim.api.meta import Object, key_of

log = logging.getLogger(__name__)

READ_AGAIN = 20.0  # as upstream's fileCheckFrequency: what no event tells of, a network file system's changes say
ABSENT = 1.0  # seconds between looks for a folder that is not there


class Folder:
    """A folder of manifests, or a single one. Files whose names begin with a dot are left alone."""

    def __init__(self, path: Path, node: str) -> None:
        self._path, self._node = path, node
        self._said: dict[str, str] = {}

    async def follow(self, taken: Callable[[dict[str, Object]], None]) -> None:
        """Call ``taken`` with the pods there are, by namespace and name, at first and after every change."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        while True:
            changed.clear()
            fd = inotify.watch(str(self._path))  # before it is read, so that nothing happens in between
            try:
                if fd is not None:
                    loop.add_reader(fd, changed.set)
                taken(self.read())
                async with asyncio.timeout(ABSENT if fd is None else READ_AGAIN):
                    await changed.wait()
            except TimeoutError:
                pass
            finally:
                if fd is not None:
                    loop.remove_reader(fd)
                    inotify.close(fd)

    def read(self) -> dict[str, Object]:
        """Of two pods of one name the last file's. What is wrong with a file is logged once."""
        found: dict[str, Object] = {}
        wrong: dict[str, str] = {}
        for file in self._files():
            try:
                pod = static_pod(_content(file), str(file), self._node)
                found[key_of(pod)] = pod
            except (OSError, InvalidManifest) as error:
                wrong[str(file)] = str(error)
        for name, why in wrong.items():
            if self._said.get(name) != why:
                log.error("%s is no static pod: %s", name, why)
        self._said = wrong
        return found

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path] if self._path.is_file() else []
        try:
            return sorted(each for each in self._path.iterdir() if each.name[0] != "." and each.is_file())
        except OSError:
            return []


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(LARGEST + 1)
    check_size(data)
    return data
