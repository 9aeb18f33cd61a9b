"""A node of its own for each test, and a check that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodeagent.engine import Engine, teardown_node
from nodeagent.engine.contract import ContainerSpec, ContainerState, SandboxSpec
from nodeagent.images import Images, build_busybox
from nodeagent.linux import cgroups, mounts
from nodeagent.linux.capabilities import DEFAULT

pytestmark = pytest.mark.needs_root


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    store = Images(tmp_path_factory.mktemp("images"))
    build_busybox(store)
    store.host_image()
    return store


def processes_of(run_dir: Path) -> list[int]:
    """The zygote and all that it forked still have the run folder on their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                command = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(run_dir) in command.split(b"\0"):
                found.append(int(name))
    return found


class Node:
    """One node's folders, and short ways to run things on it."""

    def __init__(self, base: Path, images: Images) -> None:
        self.data_dir = base / "data"
        self.run_dir = Path("/run", f"test-{uuid.uuid4().hex[:8]}", "node")
        self.cgroup_root = f"{self.run_dir.parent.name}/node"
        self.images = images
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        return Engine(self.data_dir, self.run_dir, self.cgroup_root, self.images)

    async def restart(self) -> None:
        """What a killed and restarted agent is to the engine."""
        await self.engine.close()
        self.engine = self.new_engine()
        await self.engine.start()

    async def sandbox(self, name: str = "pod", **fields: Any) -> str:
        await self.engine.run_sandbox(SandboxSpec(name, hostname=f"host-{name}", cgroup=f"kubepods/{name}", **fields))
        return name

    def spec(self, script: str, name: str = "main", sandbox: str = "pod", **fields: Any) -> ContainerSpec:
        base = ContainerSpec(
            name,
            sandbox,
            "busybox",
            ("sh", "-c", script),
            capabilities=DEFAULT,
            log_path=str(self.data_dir / "logs" / f"{name}.log"),
        )
        return replace(base, **fields)

    async def start(self, script: str, name: str = "main", sandbox: str = "pod", **fields: Any) -> ContainerState:
        await self.engine.create_container(self.spec(script, name, sandbox, **fields))
        return await self.engine.start_container(name)

    async def run(self, script: str, name: str = "main", sandbox: str = "pod", **fields: Any) -> ContainerState:
        """Run to the end."""
        await self.start(script, name, sandbox, **fields)
        return await self.exited(name)

    async def state(self, name: str = "main") -> ContainerState:
        return next(state for state in await self.engine.containers() if state.id == name)

    async def exited(self, name: str = "main") -> ContainerState:
        events = self.engine.events()
        state = await self.state(name)
        while state.phase != "exited" or state.id != name:
            state = await asyncio.wait_for(anext(events), 60)
        return state

    def log(self, name: str = "main", stream: str = "stdout") -> str:
        """What it wrote to one stream, without the log's own columns."""
        text = ""
        for line in (self.data_dir / "logs" / f"{name}.log").read_text().splitlines():
            _, where, tag, content = line.split(" ", 3)
            if where == stream:
                text += content + ("\n" if tag == "F" else "")
        return text

    async def exec(self, *argv: str, name: str = "main") -> tuple[int, str, str]:
        process = await self.engine.exec(name, argv)
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
            return await process.wait(), out.decode(), err.decode()
        finally:
            await process.close()


@pytest.fixture
async def node(tmp_path: Path, images: Images) -> AsyncIterator[Node]:
    node = Node(tmp_path, images)
    await node.engine.start()
    try:
        yield node
    finally:
        await node.engine.close()
        await teardown_node(node.data_dir, node.run_dir, node.cgroup_root)
        if node.run_dir.parent.exists():
            node.run_dir.parent.rmdir()
    assert processes_of(node.run_dir) == []
    assert mounts.below(str(node.run_dir)) == []
    assert mounts.below(str(node.data_dir)) == []
    assert not node.run_dir.exists()
    top = node.cgroup_root.split("/")[0]
    assert [h.point for h in cgroups.hierarchies() if os.path.exists(os.path.join(h.point, top))] == []


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for what the kernel does in its own time."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 the kernel sets no Event
                await asyncio.sleep(0.01)

    return wait
