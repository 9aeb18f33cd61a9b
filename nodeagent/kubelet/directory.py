"""Which container is meant, and where its log is: the kubelet's answers to the node's HTTP server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nodeagent.engine.contract import ContainerState
from nodeagent.kubelet import names
from nodeagent.kubelet.configuration import configuration
from nodeagent.kubelet.context import Node
from nodeagent.kubelet.meters import Meters
from nodeagent.kubelet.podworker import PodWorker
from nodeagent.kubelet.source import NotFound, NotReady, Target
from nodeagent.kubelet.stats import Summary
from shim.api.meta import Object

_LABELS = (names.CONTAINER_NAME, names.POD_NAME, names.POD_NAMESPACE)
_WHY = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


class Directory:
    """``source.PodSource`` from the workers there are."""

    def __init__(self, node: Node, workers: Iterable[PodWorker]) -> None:
        self._node = node
        self._workers = workers  # a live view
        self._summary = Summary(node)

    def pods(self) -> list[Object]:
        return [{**worker.state.pod, "status": worker.state.status} for worker in self._workers]

    def running_pods(self) -> list[Object]:
        found: dict[str, Object] = {}
        for state in self._node.inventory.running():
            told = state.labels
            uid = told.get(names.POD_UID, "")
            meta = {"name": told.get(names.POD_NAME), "namespace": told.get(names.POD_NAMESPACE), "uid": uid}
            one = {"metadata": {**meta, "creationTimestamp": None}, "spec": {"containers": []}, "status": {}}
            pod = found.setdefault(uid, one)
            image = told.get(names.CONTAINER_IMAGE)
            pod["spec"]["containers"].append({"name": told.get(names.CONTAINER_NAME), "image": image, "resources": {}})
        return list(found.values())

    async def summary(self, *, only_cpu_and_memory: bool = False) -> Object:
        return await self._summary.read(self.pods(), only_cpu_and_memory=only_cpu_and_memory)

    def probes(self) -> Mapping[tuple[str, ...], int]:
        known = {
            state.id: (state.labels, worker.state.uid)
            for worker in self._workers
            for state in self._node.inventory.containers(worker.state.uid)
        }
        return {
            (*(labels[key] for key in _LABELS), uid, kind, result): count
            for (run, kind, result), count in self._node.prober.counts.items()
            if run in known
            for labels, uid in [known[run]]
        }

    def mirrors(self) -> int:
        return sum(worker.state.mirror is not None for worker in self._workers)

    def went_down(self) -> tuple[float, float]:
        return self._node.went_down

    def evictions(self) -> Mapping[str, int]:
        return self._node.evicted

    @property
    def meters(self) -> Meters:
        return self._node.meters

    def own_users(self) -> Mapping[str, int]:
        return self._node.own_users

    def settings(self) -> Object:
        return configuration(self._node.settings)

    def pod(self, namespace: str, name: str) -> Object:
        worker = self._worker(namespace, name)
        return {**worker.state.pod, "status": worker.state.status}

    def _worker(self, namespace: str, name: str) -> PodWorker:
        for worker in self._workers:
            meta = worker.state.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, name) and not worker.finished:
                return worker
        raise NotFound(f'pod "{name}" does not exist')

    def container(self, namespace: str, pod: str, container: str) -> Target:
        worker = self._worker(namespace, pod)
        runs = self._node.inventory.runs(worker.state.uid).get(container)
        if not runs:
            raise NotFound(f'container not found ("{container}")')
        run = runs[0]
        found = names.find_container(worker.state.pod, container)
        log = self._node.paths.log(worker.state.pod, container, run.attempt)
        return Target(run.id, run.sandbox, log, run.phase == "running", bool(found and found[1].get("tty")))

    def sandbox(self, namespace: str, pod: str) -> str:
        worker = self._worker(namespace, pod)
        sandboxes = self._node.inventory.sandboxes(worker.state.uid)
        if not sandboxes or not sandboxes[0].ready:
            raise NotReady(f'pod "{pod}" is not running')
        return sandboxes[0].id

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Path:
        worker = self._worker(namespace, pod)
        if names.find_container(worker.state.pod, container) is None:
            raise NotFound(f'container "{container}" not found in pod "{pod}"')
        statuses = [each for each in names.statuses_of(worker.state.status) if each["name"] == container]
        if not statuses:
            raise NotReady(f'container "{container}" in pod "{pod}" is not available')
        state, last = statuses[0]["state"], (statuses[0].get("lastState") or {}).get("terminated") or {}
        if previous:
            wanted = last.get("containerID")
            if not wanted:
                raise NotReady(f'previous terminated container "{container}" in pod "{pod}" not found')
        elif "running" in state:
            wanted = statuses[0].get("containerID")
        elif "terminated" in state or last:
            wanted = (state.get("terminated") or {}).get("containerID") or last.get("containerID")
            if not wanted:
                raise NotReady(f'container "{container}" in pod "{pod}" is terminated')
        else:
            reason = state["waiting"].get("reason", "")
            raise NotReady(f'container "{container}" in pod "{pod}" is waiting to start: {_WHY.get(reason, reason)}')
        path = self.log_of(str(wanted).rpartition("/")[2])
        if path is None:
            raise NotReady(f"unable to retrieve container logs for {wanted}")
        return path

    def log_of(self, target: str) -> Path | None:
        state = self._state(target)
        path = state.labels.get(names.CONTAINER_LOG) if state else None
        return Path(path) if path else None

    def _state(self, container: str) -> ContainerState | None:
        for worker in self._workers:
            for state in self._node.inventory.containers(worker.state.uid):
                if state.id == container:
                    return state
        return None
