"""The static pods of this node: those its folder or page asks for are started, those no longer asked for are ended.

A pod is what its manifest says, for as long as it runs: when the file changes, the pod ends as any other and the one of
the new file starts after it. No API server is needed for any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import aiohttp

from nodeagent.kubelet import names
from nodeagent.kubelet.podworker import PodWorker
from nodeagent.kubelet.statics.folder import Folder
from nodeagent.kubelet.statics.page import Page
from nodeagent.settings import NodeAgentSettings
from shim.api.meta import Object


class StaticPods:
    """``known`` once the folder has been read for the first time; a page may not answer for long."""

    def __init__(
        self,
        sources: Sequence[Folder | Page],
        workers: Mapping[str, PodWorker],
        start: Callable[[str, Object], None],
        changed: Callable[[], None],
    ) -> None:
        """``start`` gives a pod its worker; ``changed`` is called when pods have come or gone."""
        self._sources = sources
        self._asked: dict[Folder | Page, dict[str, Object]] = {}  # by each source
        self._workers, self._start, self._changed = workers, start, changed
        self._running: dict[str, str] = {}  # uids by namespace and name
        self._leaving: set[str] = set()  # uids
        self.known = asyncio.Event()

    async def run(self) -> None:
        """Follow the sources until cancelled."""
        if not any(isinstance(source, Folder) for source in self._sources):
            self.known.set()
        await asyncio.gather(*(source.follow(partial(self._take, source)) for source in self._sources))

    def _take(self, source: Folder | Page, wanted: dict[str, Object]) -> None:
        self._asked[source] = wanted
        self._settle()
        self.known.set()

    def _settle(self) -> None:
        wanted = {key: pod for asked in self._asked.values() for key, pod in asked.items()}
        for key, uid in self._running.items():
            worker, pod = self._workers[uid], wanted.get(key)
            stays = pod is not None and names.uid_of(pod) == uid
            if uid in self._leaving:
                worker.returns = stays
            elif not stays:
                self._leaving.add(uid)
                worker.update(worker.state.pod, gone=True)
        for key, pod in wanted.items():
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


def sources_of(settings: NodeAgentSettings, http: aiohttp.ClientSession) -> list[Folder | Page]:
    """Where this node is told to look for manifests."""
    found: list[Folder | Page] = []
    if settings.pod_manifest_path:
        found.append(Folder(Path(settings.pod_manifest_path), settings.node_name))
    if settings.manifest_url:
        found.append(Page(settings.manifest_url, settings.node_name, http))
    return found
