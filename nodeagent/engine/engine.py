"""How do sandboxes and containers come, run and go? ``Engine`` is the contract's; it asks the zygote for each process.

              request                fork                  fork, namespaces, exec
Engine ────────────────────> zygote ──────> monitor ────────────────────────────────> container
   <──────────── started, exited ─────────────┘ (of each container one; it outlives engine and zygote)
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nodeagent.engine import idranges, preparation, records, requests, spawn, streams, wire
from nodeagent.engine.container import Container, signal_number
from nodeagent.engine.contract import (
    ContainerSpec,
    ContainerState,
    EngineError,
    Image,
    ImageConfig,
    ImageMissing,
    ImageStore,
    Process,
    Resources,
    SandboxSpec,
    SandboxState,
)
from nodeagent.engine.teardown import teardown_node
from nodeagent.linux import cgroups, diskuse, namespaces, procfs
from nodeagent.linux.pressure import Pressure
from nodeagent.linux.steps import Steps

__all__ = ["Engine", "teardown_node"]


class Engine:
    """See ``contract.Engine``. ``run_dir`` is lost at a reboot, ``data_dir`` is not."""

    def __init__(self, data_dir: Path, run_dir: Path, cgroup_root: str, images: ImageStore) -> None:
        self._data = Path(data_dir).absolute()
        self._run = Path(run_dir).absolute()
        self._cgroup_root = cgroup_root.strip("/")
        self._images = images
        self._cgroups = cgroups.detect()
        self._preparation = preparation.Preparation(self._cgroup_root, self._cgroups, images)
        self._sandboxes: dict[str, SandboxSpec] = {}
        self._made: dict[
            str, dict[str, Any]
        ] = {}  # sandbox -> when it was created, and its first process if it has one
        self._containers: dict[str, Container] = {}
        self._subscribers: set[asyncio.Queue[ContainerState]] = set()
        self._zygote = spawn.Zygote(self._run)
        self.no_own_users = "not known yet"

    # Coming and going

    async def start(self) -> None:
        for folder in (self._data / "sandboxes", self._data / "containers"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self._run / "sandboxes", self._run / "monitors"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(self._preparation.node)
        await spawn.ensure(self._run)
        folders = [str(self._data), str(self._run), self._images.folder]
        probed = await self._zygote.ask({"op": "probe", "folders": folders})
        self.no_own_users = probed["unsupported"]
        for path in sorted((self._data / "sandboxes").glob("*/spec.json")):
            record = records.read(path)
            spec = records.sandbox_spec(record["spec"])
            self._sandboxes[spec.id], self._made[spec.id] = spec, record["made"]
            if not record["made"]:  # the agent died while making it: nobody knows of it yet
                await self.remove_sandbox(spec.id)
        for path in (self._data / "containers").iterdir():
            if not (path / "spec.json").exists():  # likewise
                await asyncio.to_thread(shutil.rmtree, path)
        for path in sorted((self._data / "containers").glob("*/spec.json")):
            record = records.read(path)
            container = self._add(record)
            container.take_up()
            if container.phase == "exited":  # without a monitor nobody has seen to what it left
                await asyncio.to_thread(procfs.kill_all, self._cgroups.procs_files(container.cgroup))

    async def close(self) -> None:
        for container in self._containers.values():
            await container.close()

    async def teardown(self) -> None:
        await teardown_node(self._data, self._run, self._cgroup_root)
        for container in self._containers.values():
            if container.phase == "running":
                await container.wait_exited(5.0)
        await self.close()

    # Sandboxes

    async def limit_group(self, cgroup: str, resources: Resources) -> None:
        await asyncio.to_thread(self._preparation.group, self._preparation.cgroup(cgroup), resources)

    async def run_sandbox(self, spec: SandboxSpec) -> SandboxState:
        records.check_id(spec.id)
        if spec.id in self._sandboxes:
            return self._sandbox_state(spec.id)
        if spec.own_users and self.no_own_users:
            raise EngineError(f"user namespaces do not work here: {self.no_own_users}")
        run, record = self._sandbox_run(spec.id), self._data / "sandboxes" / spec.id / "spec.json"
        self._sandboxes[spec.id], self._made[spec.id] = spec, {}
        step = Steps()
        try:
            await self._preparation.sandbox(spec, run, record, step, alone=self._alone())
            users = await asyncio.to_thread(idranges.claim, run, spec.cgroup) if spec.own_users else 0
            join = self._cgroups.join_files(self._preparation.pause_cgroup(spec)) if spec.share_pid else []
            answer = await self._zygote.ask(requests.sandbox_request(spec, run, join, users))
            if "failed" in answer:
                raise EngineError(f"sandbox {spec.id}: {answer['failed']}")
            step.taken += answer["made"].pop("steps")
            made = self._made[spec.id] = {"created_at": time.time(), "users": users, **answer["made"]}
            records.write(record, {"spec": records.spec_json(spec), "made": made, "steps": step.taken})
        except BaseException:
            await asyncio.shield(self.remove_sandbox(spec.id))
            raise
        return self._sandbox_state(spec.id)

    def _alone(self) -> bool:
        """Whether no more than one sandbox or container is being made or started right now."""
        making = sum(not made for made in self._made.values())
        return making + sum(container.phase == "created" for container in self._containers.values()) <= 1

    async def update_sandbox(self, sandbox: str, resources: Resources) -> SandboxState:
        spec = replace(self._sandbox(sandbox), resources=resources)
        for ended in [c for c in self._containers.values() if c.spec.sandbox == sandbox and c.phase == "exited"]:
            await asyncio.to_thread(self._cgroups.remove, ended.cgroup)  # version 1 allows no less than is in there
        await asyncio.to_thread(self._preparation.relimit, self._preparation.cgroup(spec.cgroup), resources)
        self._sandboxes[sandbox] = spec
        path = self._data / "sandboxes" / sandbox / "spec.json"
        records.write(path, {**records.read(path), "spec": records.spec_json(spec)})
        return self._sandbox_state(sandbox)

    async def stop_sandbox(self, sandbox: str) -> None:
        inside = [c.spec.id for c in self._containers.values() if c.spec.sandbox == sandbox]
        await asyncio.gather(*(self.stop_container(container, 0) for container in inside))
        spec = self._sandboxes.get(sandbox)
        if spec is not None:
            await asyncio.to_thread(self._release_sandbox, spec, self._sandbox_run(sandbox))

    def _release_sandbox(self, spec: SandboxSpec, run: Path) -> None:
        if spec.share_pid:
            procfs.kill_all(self._cgroups.procs_files(self._preparation.pause_cgroup(spec)))
        for kind in requests.new_namespaces(spec):
            namespaces.release(str(run / kind))
        if spec.own_users:
            idranges.release(run)
        shutil.rmtree(run, ignore_errors=True)

    async def remove_sandbox(self, sandbox: str) -> None:
        await self.stop_sandbox(sandbox)
        inside = [c.spec.id for c in self._containers.values() if c.spec.sandbox == sandbox]
        await asyncio.gather(*(self.remove_container(container) for container in inside))
        spec = self._sandboxes.pop(sandbox, None)
        self._made.pop(sandbox, None)
        if spec is None:
            return
        others = [other for other in self._sandboxes.values() if other.cgroup == spec.cgroup]
        if others:  # a pod that got a new sandbox keeps its cgroup
            gone = self._preparation.pause_cgroup(spec)
        else:
            gone = self._preparation.cgroup(spec.cgroup)
        await asyncio.to_thread(self._cgroups.remove, gone)
        await asyncio.to_thread(shutil.rmtree, self._data / "sandboxes" / sandbox, ignore_errors=True)

    async def sandboxes(self) -> list[SandboxState]:
        return [self._sandbox_state(sandbox) for sandbox, made in self._made.items() if made]

    def _sandbox_state(self, sandbox: str) -> SandboxState:
        spec = self._sandboxes[sandbox]
        run = self._sandbox_run(sandbox)
        ready = all(namespaces.is_held(str(run / kind)) for kind in requests.new_namespaces(spec))
        made = self._made[sandbox]
        if made.get("pid"):
            ready = ready and procfs.start_time(made["pid"]) == made["started"]
        netns = "" if spec.host_network else str(run / "net")
        return SandboxState(sandbox, ready, netns, made["created_at"], spec.labels, spec.resources)

    async def netns_of(self, sandbox: str) -> str:
        spec = self._sandbox(sandbox)
        return f"/proc/{os.getpid()}/ns/net" if spec.host_network else str(self._sandbox_run(sandbox) / "net")

    # Containers

    async def create_container(self, spec: ContainerSpec) -> ContainerState:
        records.check_id(spec.id)
        if spec.id in self._containers:
            return self._containers[spec.id].state
        if not spec.argv:
            raise EngineError("no command specified")
        self._sandbox(spec.sandbox)
        image = self._image(spec.image)
        try:
            requests.process_request(spec, image.config, "", spec.argv, tty=False)
        except ValueError as error:
            raise EngineError(str(error)) from None
        record = {
            "spec": records.spec_json(spec),
            "image": image.id,
            "created_at": time.time(),
            "cgroup": self._preparation.cgroup(self._sandbox(spec.sandbox).cgroup, spec.id),
        }
        await self._preparation.container(spec, self._data / "containers" / spec.id, record, alone=self._alone())
        return self._add(record).state

    async def start_container(self, container: str) -> ContainerState:
        found = self._container(container)
        if found.phase == "exited":
            raise EngineError(f"container {container} has already run")
        if found.phase == "created":
            beside = self._process_of(found.spec.pid_of)
            image = self._image(found.image)
            request = requests.container_request(
                found.spec,
                self._sandbox(found.spec.sandbox),
                image.config,
                self._images.root(image.id),
                directory=found.directory,
                sandbox_dir=self._sandbox_run(found.spec.sandbox),
                socket=found.socket,
                cgroups=self._cgroups,
                cgroup=found.cgroup,
                pace=self._pace(found),
                program=preparation.program(found.spec, found.directory),
                volumes={each.source: self._images.root(each.source) for each in preparation.images_in(found.spec)},
                beside=beside,
                users=self._users(found.spec.sandbox),
            )
            channel = await self._zygote.open()
            if found.watched:  # by another caller, meanwhile
                channel.close()
            else:
                try:
                    spawn.send(channel, request)
                except BaseException:
                    channel.close()
                    raise
                found.watch(channel)
        await found.wait_started()
        return found.state

    def _process_of(self, container: str) -> int:
        """The first process of a running container; 0 for none asked. Raises EngineError."""
        if not container:
            return 0
        started = self._running(container).started
        if started is None or procfs.start_time(started["pid"]) != started["start_time"]:
            raise EngineError(f"container {container} is not running")
        return int(started["pid"])

    async def update_container(self, container: str, resources: Resources, labels: Mapping[str, str]) -> ContainerState:
        found = self._running(container)
        await asyncio.to_thread(self._preparation.relimit, found.cgroup, resources)
        found.spec = replace(found.spec, resources=resources, labels={**found.spec.labels, **labels})
        path = found.directory / "spec.json"
        records.write(path, {**records.read(path), "spec": records.spec_json(found.spec)})
        return found.state

    async def stop_container(self, container: str, grace: float) -> None:
        found = self._containers.get(container)
        if found is None or found.phase != "running":
            return
        if grace > 0:
            found.signal(signal_number(found.spec.stop_signal))
            if await found.wait_exited(grace):
                return
        found.signal(signal.SIGKILL)
        await found.wait_exited()

    async def remove_container(self, container: str) -> None:
        found = self._containers.get(container)
        if found is None:
            return
        await self.stop_container(container, 0)
        await found.close()
        await asyncio.to_thread(self._clean, found)
        self._containers.pop(container, None)

    def _clean(self, container: Container) -> None:
        procfs.kill_all(self._cgroups.procs_files(container.cgroup))
        self._cgroups.remove(container.cgroup)
        shutil.rmtree(container.directory, ignore_errors=True)
        self._preparation.undone(container.spec, container.directory)

    async def containers(self) -> list[ContainerState]:
        return [container.state for container in self._containers.values()]

    def events(self) -> AsyncIterator[ContainerState]:
        queue: asyncio.Queue[ContainerState] = asyncio.Queue()
        self._subscribers.add(queue)  # now, not when the caller first waits: nothing in between is missed
        return self._follow(queue)

    async def _follow(self, queue: asyncio.Queue[ContainerState]) -> AsyncIterator[ContainerState]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._subscribers.discard(queue)

    async def exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        size: tuple[int, int] | None = None,
    ) -> Process:
        found = self._running(container)
        if not argv:
            raise EngineError("no command specified")
        assert found.started is not None
        image = self._images.find(found.image)  # may be gone by now: then without its environment
        config = image.config if image else ImageConfig()
        sandbox = self._sandboxes.get(found.spec.sandbox)
        hostname = sandbox.hostname if sandbox else ""
        names = [] if tty else [*(["stdin"] if stdin else []), "stdout", "stderr"]
        request = requests.exec_request(
            requests.process_request(
                found.spec,
                config,
                hostname,
                argv,
                tty=tty,
                size=size,
                program=preparation.program(found.spec, found.directory),
            ),
            pid=found.started["pid"],
            started=found.started["start_time"],
            join=self._cgroups.join_files(found.cgroup),
            pace=self._pace(found),
            users=self._users(found.spec.sandbox),
            streams=names,
        )
        channel = await self._zygote.open()
        memfd = wire.request_file(request)
        try:
            return await streams.run_exec(channel, memfd, names, stdin=stdin)
        finally:
            os.close(memfd)

    async def attach(self, container: str) -> Process:
        found = self._running(container)
        return await streams.run_attach(found.connect(), stdin=found.spec.stdin, tty=found.spec.tty)

    async def reopen_log(self, container: str) -> None:
        channel = self._running(container).connect()
        try:
            channel.send({"op": "reopen"})
            await channel.answer("reopened")
        finally:
            channel.close()

    async def usage(self, container: str) -> Mapping[str, int]:
        try:
            return self._cgroups.usage(self._container(container).cgroup)
        except OSError as error:
            raise EngineError(f"usage of container {container}: {error}") from None

    async def pressure(self, cgroup: str) -> Pressure:
        try:
            return self._cgroups.pressure(self._preparation.cgroup(cgroup))
        except OSError as error:
            raise EngineError(f"pressure in {cgroup}: {error}") from None

    async def disk_usage(self, container: str) -> diskuse.DiskUse:
        return await asyncio.to_thread(diskuse.of, str(self._container(container).directory / "upper"))

    async def node_usage(self) -> Mapping[str, int]:
        try:
            return self._cgroups.usage(self._cgroup_root)
        except FileNotFoundError:  # made with the first pod
            return {"cpu_ns": 0, "memory_bytes": 0, "pids": 0}
        except OSError as error:
            raise EngineError(f"usage of the node: {error}") from None

    # What the above share

    def _add(self, record: dict[str, Any]) -> Container:
        spec = records.container_spec(record["spec"])
        container = Container(
            spec,
            image=record["image"],
            created_at=record["created_at"],
            cgroup=record["cgroup"],
            directory=self._data / "containers" / spec.id,
            socket=self._run / "monitors" / f"{spec.id}.sock",
            changed=self._publish,
        )
        self._containers[spec.id] = container
        return container

    def _publish(self, container: Container) -> None:
        for queue in self._subscribers:
            queue.put_nowait(container.state)

    def _sandbox_run(self, sandbox: str) -> Path:
        return self._run / "sandboxes" / sandbox

    def _sandbox(self, sandbox: str) -> SandboxSpec:
        if sandbox not in self._sandboxes:
            raise EngineError(f"no sandbox {sandbox}")
        return self._sandboxes[sandbox]

    def _pace(self, container: Container) -> wire.PaceRequest:
        """Setting up takes some 20 ms of a processor: of a hundredth of one, two seconds, and its pod's own share."""
        sandbox = self._sandboxes.get(container.spec.sandbox)
        around = [container.spec.resources, *([sandbox.resources] if sandbox else [])]
        if not any(limits.cpu_quota_us and 0 < limits.cpu_quota_us < limits.cpu_period_us for limits in around):
            return {"aside": [], "back": []}
        aside, back = (self._cgroups.cpu_files(path) for path in (self._preparation.aside, container.cgroup))
        return {"aside": aside, "back": back}

    def _users(self, sandbox: str) -> int:
        """The node's id of its user 0; 0 without a user namespace."""
        return int(self._made[sandbox].get("users", 0))

    def _container(self, container: str) -> Container:
        if container not in self._containers:
            raise EngineError(f"no container {container}")
        return self._containers[container]

    def _running(self, container: str) -> Container:
        found = self._container(container)
        if found.phase != "running":
            raise EngineError(f"container {container} is not running")
        return found

    def _image(self, reference: str) -> Image:
        image = self._images.find(reference)
        if image is None:
            raise ImageMissing(f"no such image: {reference}")
        return image
