"""How much do pods use right now? ``metrics.k8s.io``, from what kubelets answer at ``/metrics/resource``.

Kubelets tell how much CPU time was used so far; a rate needs two looks. They are taken at an interval while anybody
asks, and not at all when nobody has for a while: whoever comes first waits a second for the second look.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from shim.api.keys import NODES
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.resources.metrics import Usage, node_metrics, pod_metrics
from shim.server import computed
from shim.server.backends import node_backend
from shim.server.parts import Call, Parts

log = logging.getLogger(__name__)

FIRST_WINDOW = 1.0  # seconds between the first two looks
UNASKED = 300.0  # seconds without a question until looking ends
PATIENCE = 5.0  # seconds for one kubelet

NODE = ("node_cpu_usage_seconds_total", "node_memory_working_set_bytes")
CONTAINER = ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes")

Name = tuple[str, ...]
"""() is the node itself, otherwise namespace, pod and container."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one of a node's parts had used at a moment."""

    at: float
    cpu_seconds: float
    memory: int


@dataclass(slots=True)
class Look:
    """What a kubelet said, by name; ``before`` is what it said the time before."""

    now: Mapping[Name, Point]
    before: Mapping[Name, Point] = field(default_factory=dict)

    def usage(self, name: Name) -> tuple[Usage, float, float] | None:
        """What is used, when that was, and over how many seconds; None until there are two looks at it."""
        point, earlier = self.now.get(name), self.before.get(name)
        if point is None or earlier is None or point.at <= earlier.at or point.cpu_seconds < earlier.cpu_seconds:
            return None  # it has only just started, or started anew
        window = point.at - earlier.at
        nanos = round((point.cpu_seconds - earlier.cpu_seconds) / window * 1e9)
        return Usage(nanos, point.memory), point.at, window


def read(text: str) -> dict[Name, Point]:
    """Read a kubelet's answer."""
    values: dict[str, dict[Name, tuple[float, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            name: Name = (labels["namespace"], labels["pod"], labels["container"]) if "container" in labels else ()
            at = float(sample.timestamp or 0)
            values.setdefault(sample.name, {})[name] = (sample.value, at)
    found: dict[Name, Point] = {}
    for cpu, memory in (NODE, CONTAINER):
        for name, (seconds, at) in values.get(cpu, {}).items():
            if name in values.get(memory, {}):
                found[name] = Point(at, seconds, int(values[memory][name][0]))
    return found


class ResourceMetrics:
    """Answers for both kinds."""

    def __init__(self, parts: Parts, resolution: float) -> None:
        self._parts, self._resolution = parts, resolution
        self._looks: dict[str, Look] = {}
        self._asked = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def answer(self, call: Call) -> web.Response:
        """A get or a list."""
        await self._keep_looking()
        return computed.answer(call, [obj for obj in self._measured(call) if obj["metadata"].get("name")])

    def _measured(self, call: Call) -> Iterable[Object]:
        for node, look in sorted(self._looks.items()):
            if call.resource.name == "nodes":
                measured = look.usage(())
                if measured is not None:
                    usage, at, window = measured
                    yield node_metrics(node, self._labels(NODES + node), _time(at), window, usage)
            else:
                yield from self._pods(look, call.info.namespace)

    def _pods(self, look: Look, namespace: str) -> Iterable[Object]:
        pods: dict[tuple[str, str], dict[str, tuple[Usage, float, float] | None]] = {}
        for name in look.now:
            if name and namespace in ("", name[0]):
                pods.setdefault((name[0], name[1]), {})[name[2]] = look.usage(name)
        for (where, pod), containers in sorted(pods.items()):
            known = {name: each for name, each in containers.items() if each is not None}
            if len(known) < len(containers):
                continue  # half a pod would look like less than it is
            at, window = min(each[1] for each in known.values()), max(each[2] for each in known.values())
            used = {name: each[0] for name, each in known.items()}
            yield pod_metrics(where, pod, self._labels(f"/registry/pods/{where}/{pod}"), _time(at), window, used)

    def _labels(self, key: str) -> Object:
        entry = self._parts.cache.get(key)
        return dict(entry.labels) if entry is not None else {}

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        self._asked = loop.time()
        if self._looking is None or self._looking.done():
            self._ready.clear()
            self._looks.clear()
            self._looking = loop.create_task(self._look_on(), name="resource metrics")
        await self._ready.wait()

    async def _look_on(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
                await self._look(session)
                if self._looks:
                    await asyncio.sleep(FIRST_WINDOW)
                    await self._look(session)
                self._ready.set()
                while loop.time() - self._asked < UNASKED:
                    await asyncio.sleep(self._resolution)
                    await self._look(session)
        finally:
            self._ready.set()  # whoever waits must not wait for ever

    async def _look(self, session: aiohttp.ClientSession) -> None:
        nodes = [entry.key.rpartition("/")[2] for entry in self._parts.cache.range(NODES)]
        answers = await asyncio.gather(*(self._ask(session, node) for node in nodes))
        before = self._looks
        self._looks = {
            node: Look(answer, before[node].now if node in before else {})
            for node, answer in zip(nodes, answers, strict=True)
            if answer is not None
        }

    async def _ask(self, session: aiohttp.ClientSession, node: str) -> dict[Name, Point] | None:
        try:
            backend = node_backend(self._parts, node)
            url = f"{backend.scheme}://{backend.authority}/metrics/resource"
            async with session.get(url, ssl=backend.tls or False, server_hostname=backend.name or None) as answer:
                answer.raise_for_status()
                return read(await answer.text())
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.debug("node %s tells no metrics: %s", node, error)
            return None

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
