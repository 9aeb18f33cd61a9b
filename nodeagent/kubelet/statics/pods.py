"""The static pods of this node: those its folder asks for are started, those it asks for no longer are ended.

A pod is what its manifest says, for as long as it runs: when the file changes, the pod ends as any other and the one of
the new file starts after it. No API server is needed for any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from nodeagent.kubelet import names
from nodeagent.kubelet.podworker import PodWorker
from nodeagent.kubelet.statics.folder import Folder
from shim.api.meta import Object


class StaticPods:
    """``known`` once the folder has been read for the first time."""

    def __init__(
        self,
        path: Path | None,
        node: str,
        workers: Mapping[str, PodWorker],
        start: Callable[[str, Object], None],
        changed: Callable[[], None],
    ) -> None:
        """``start`` gives a pod its worker; ``changed`` is called when pods have come or gone."""
        self._folder = Folder(path, node) if path is not None else None
        self._workers, self._start, self._changed = workers, start, changed
        self._wanted: dict[str, Object] = {}
        self._running: dict[str, str] = {}  # uids by namespace and name
        self._leaving: set[str] = set()  # uids
        self.known = asyncio.Event()

    async def run(self) -> None:
        """Follow the folder until cancelled."""
        if self._folder is None:
            self.known.set()
        else:
            await self._folder.follow(self._take)

    def _take(self, wanted: dict[str, Object]) -> None:
        self._wanted = wanted
        self._settle()
        self.known.set()

    def _settle(self) -> None:
        for key, uid in self._running.items():
            worker, pod = self._workers[uid], self._wanted.get(key)
            stays = pod is not None and names.uid_of(pod) == uid
            if uid in self._leaving:
                worker.returns = stays
            elif not stays:
                self._leaving.add(uid)
                worker.update(worker.state.pod, gone=True)
        for key, pod in self._wanted.items():
            if key not in self._running:
                self._running[key] = names.uid_of(pod)
                self._start(names.uid_of(pod), pod)
        self._changed()

    def ended(self, uid: str) -> None:
        """Nothing is left of a pod: one of the same name may begin."""
        self._leaving.discard(uid)
        for key in [key for key, running in self._running.items() if running == uid]:
            del self._running[key]
            self._settle()

    def here(self) -> dict[str, Object | None]:
        """The pods whose mirrors must be in the API, by namespace and name; None: the mirror there is may stay."""
        found: dict[str, Object | None] = {}
        for key, uid in self._running.items():
            found[key] = None if uid in self._leaving else self._workers[uid].state.pod
        return found
