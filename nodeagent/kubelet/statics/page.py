"""Which static pods does a page ask this node for? It is asked again and again: a page tells nobody that it changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from nodeagent.kubelet.statics.manifest import InvalidManifest, check_size, static_pods
from shim.api.meta import Object, key_of

log = logging.getLogger(__name__)

ASK_AGAIN = 20.0  # as upstream's httpCheckFrequency
PATIENCE = 10.0


class Page:
    """A Pod or a PodList at a URL. While it does not answer, or with nonsense, what it asked for before goes on."""

    def __init__(self, url: str, node: str, http: aiohttp.ClientSession) -> None:
        self._url, self._node, self._http = url, node, http
        self._said = ""

    async def follow(self, taken: Callable[[dict[str, Object]], None]) -> None:
        """Call ``taken`` with the pods there are, by namespace and name, whenever they may be others."""
        before: bytes | None = None
        while True:
            try:
                data = await self._get()
                if data != before:
                    taken({key_of(pod): pod for pod in static_pods(data, self._url, self._node)})
                    before = data
                self._said = ""
            except (aiohttp.ClientError, TimeoutError, OSError, InvalidManifest) as error:
                self._complain(str(error) or type(error).__name__)
            await asyncio.sleep(ASK_AGAIN)

    async def _get(self) -> bytes:
        async with asyncio.timeout(PATIENCE), self._http.get(self._url) as answer:
            if answer.status != 200:
                raise InvalidManifest(f"it answers {answer.status} {answer.reason}")
            data = bytearray()
            async for piece in answer.content.iter_any():
                data += piece
                check_size(data)
            if not data:
                raise InvalidManifest("it is empty")
            return bytes(data)

    def _complain(self, why: str) -> None:
        if why != self._said:
            log.error("no static pods from %s: %s", self._url, why)
        self._said = why
