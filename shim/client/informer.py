"""What does the cluster look like now? A local copy of one resource, kept current by a watch.

- The copy is replaced by a list and then follows a watch; a broken watch goes on where it ended,
  an expired one relists.
- Each handler sees every object that is or was in the copy exactly once as new, and once as deleted, in order.
- Objects are shared with everyone who asks: never change one; ``copy.deepcopy`` it first.
- They come without ``managedFields``, which are half of what an object weighs. An update without them keeps those that
  are stored. Who needs little of each object keeps but that; see ``keep``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial

from shim.api.meta import GVR, Object, key_of
from shim.api.status import ApiError
from shim.client.backoff import Backoff
from shim.client.transport import Client

log = logging.getLogger(__name__)

Handler = Callable[[Object | None, Object | None], None]
Indexer = Callable[[Object], Iterable[str]]
Keep = Callable[[Object], Object]
Objects = list[Object]
Keys = list[str]

PAGE = 500  # objects of one answer, as upstream's reflectors ask: no more than these are in memory twice
SHORT_WATCH = 1.0  # a watch that ends sooner did not end by its timeout: do not begin the next one at once for ever


class Informer:
    """A copy of the objects of one resource, of the whole cluster or one namespace, or of those a selector selects."""

    def __init__(
        self,
        client: Client,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, Indexer] | None = None,
        metadata_only: bool = False,
        keep: Keep | None = None,
    ) -> None:
        """``keep`` makes of an object what is kept of it: at least its name, namespace, uid and resourceVersion."""
        self.gvr = gvr
        self._client = client
        self._namespace = namespace
        self._label_selector, self._field_selector = label_selector, field_selector
        self._metadata_only = metadata_only
        self._keep = keep
        self._objects: dict[str, Object] = {}
        self._handlers: list[Handler] = []
        self._replaced: list[Callable[[], None]] = []
        self._indexers: dict[str, Indexer] = {}
        self._indices: dict[str, dict[str, dict[str, Object]]] = {}
        self._synced = asyncio.Event()
        self._version = ""
        self._cut_off = False
        self.following_since = 0.0  # loop time at which the server was last found again; 0: it was never lost
        for name, indexer in (indexers or {}).items():
            self.add_indexer(name, indexer)

    # Reading the copy.

    def get(self, key: str) -> Object | None:
        """The object at ``namespace/name`` (``name`` in the cluster scope)."""
        return self._objects.get(key)

    def list(self) -> Objects:
        return list(self._objects.values())

    def keys(self) -> Keys:
        return list(self._objects)

    def by(self, index: str, value: str) -> Objects:
        """The objects for which an indexer yielded ``value``."""
        return list(self._indices[index].get(value, {}).values())

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def revision(self) -> int:
        """How far the copy has come; 0 while it begins anew."""
        return int(self._version or 0)

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def synced(self) -> None:
        """Wait until the copy is complete for the first time; all handlers have been called for it by then."""
        await self._synced.wait()

    # Following it.

    def on_change(self, handler: Handler) -> Callable[[], None]:
        """Call ``handler(old, new)`` for every change from now on, after (None, new) for each object there is.

        Handlers run synchronously on the loop, in the order of the watch, after the copy has changed. What is returned
        ends it.
        """
        self._handlers.append(handler)
        for obj in self.list():
            self._call(handler, None, obj)
        return partial(self._handlers.remove, handler)

    def on_replace(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` whenever the copy was replaced by a list: what came and went before it, nobody was told."""
        self._replaced.append(handler)

    def add_indexer(self, name: str, indexer: Indexer) -> None:
        """Keep ``by(name, value)`` answered; an indexer yields the values of one object."""
        if name in self._indexers:
            return
        self._indexers[name] = indexer
        self._indices[name] = {}
        for key, obj in self._objects.items():
            self._index(name, key, obj)

    async def run(self) -> None:
        """Keep the copy current until cancelled, whatever becomes of the server."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                if not self._version:
                    await self._replace()
                    backoff.reset()
                await self._follow()
                if loop.time() - began > SHORT_WATCH:
                    backoff.reset()
            except ApiError as error:
                if error.code == 410:
                    self._version = ""  # the changes in between are no longer kept: begin anew
                elif not self._cut_off:
                    log.info("%s: cannot follow: %s", self.gvr.group_resource, error)
                    self._cut_off = True
                if loop.time() - began > SHORT_WATCH:
                    backoff.reset()
            await backoff.wait()

    async def _replace(self) -> None:
        """Make the copy equal to a fresh list, telling handlers of what changed meanwhile."""
        fresh: dict[str, Object] = {}
        more = ""
        while True:
            answer = await self._client.list(
                self.gvr,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                metadata_only=self._metadata_only,
                limit=PAGE,
                continue_=more,
            )
            # Items of a typed list do not say what they are; those of a watch do.
            kind, api_version = answer["kind"].removesuffix("List"), answer["apiVersion"]
            for item in answer.get("items") or ():
                if "kind" not in item:
                    item["kind"], item["apiVersion"] = kind, api_version
                fresh[key_of(item)] = self._kept(item)
            more = answer["metadata"].get("continue") or ""
            if not more:
                break
        for key in [key for key in self._objects if key not in fresh]:
            self._change(key, None)
        for key, obj in fresh.items():
            known = self._objects.get(key)
            if known is None or known["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._change(key, obj)
        self._version = answer["metadata"]["resourceVersion"]
        for handler in self._replaced:
            handler()
        self._synced.set()

    async def _follow(self) -> None:
        batches = self._client.watch_batches(
            self.gvr,
            self._namespace,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            metadata_only=self._metadata_only,
        )
        async with aclosing(batches):
            async for batch in batches:
                if self._cut_off:
                    log.info("%s: following again", self.gvr.group_resource)
                    self._cut_off = False
                    self.following_since = asyncio.get_running_loop().time()
                for event, obj in batch:
                    if event == "DELETED":
                        self._change(key_of(obj), None, last=self._kept(obj))
                    elif event != "BOOKMARK":
                        self._change(key_of(obj), self._kept(obj))
                    self._version = obj["metadata"]["resourceVersion"]

    def _kept(self, obj: Object) -> Object:
        obj["metadata"].pop("managedFields", None)
        return self._keep(obj) if self._keep is not None else obj

    def _change(self, key: str, new: Object | None, *, last: Object | None = None) -> None:
        old = self._objects.get(key)
        if new is None:
            if old is None:
                return
            del self._objects[key]
        else:
            self._objects[key] = new
        for name in self._indexers:
            if old is not None:
                self._unindex(name, key, old)
            if new is not None:
                self._index(name, key, new)
        if old is not None and new is not None and old["metadata"].get("uid") != new["metadata"].get("uid"):
            # deleted and made again while nobody watched: two objects, two changes
            self._tell(old, None)
            old = None
        self._tell(last if new is None and last is not None else old, new)

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            self._call(handler, old, new)

    def _call(self, handler: Handler, old: Object | None, new: Object | None) -> None:
        try:
            handler(old, new)
        except Exception:
            log.exception("%s: a handler failed", self.gvr.group_resource)

    def _index(self, name: str, key: str, obj: Object) -> None:
        index = self._indices[name]
        for value in self._indexers[name](obj):
            index.setdefault(value, {})[key] = obj

    def _unindex(self, name: str, key: str, obj: Object) -> None:
        index = self._indices[name]
        for value in self._indexers[name](obj):
            entries = index.get(value)
            if entries is not None:
                entries.pop(key, None)
                if not entries:
                    del index[value]
