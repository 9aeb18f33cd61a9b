"""kill -9 at each step that the engine records of a start, and while it stops something: nothing is left, nothing runs
twice, and the next start succeeds. The steps are those of a start that nobody disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from nodeagent.engine import anatomy, spawn
from nodeagent.engine.contract import EngineError, Resources
from nodeagent.linux import procfs

from .conftest import processes_of

SLOW = Resources(cpu_quota_us=90_000)  # it has more steps: aside of this limit and back

_STOPS = """
import os
from nodeagent.linux import steps
begin, happened, known = steps._Step.__enter__, steps.Steps.happened, {{}}
def reach(what):
    me = os.getpid()
    if me not in known:  # as long as the node's folders and /proc are in sight
        known.clear()
        known[me] = os.open({folder!r}, os.O_PATH | os.O_CLOEXEC), os.readlink("/proc/self")
    folder, pid = known[me]
    try:
        with open(os.open("stop-at", os.O_RDONLY, dir_fd=folder)) as file:
            if file.read() != what:
                return
    except FileNotFoundError:
        return
    os.unlink("stop-at", dir_fd=folder)
    with open(os.open("stopped.new", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "w") as file:
        file.write(pid)
    os.rename("stopped.new", "stopped", src_dir_fd=folder, dst_dir_fd=folder)
    os.close(os.open("gate", os.O_RDONLY, dir_fd=folder))  # until somebody opens the other end
def entering(step):
    reach(step._what)
    return begin(step)
def noting(taken, what, *shell):
    reach(what)
    return happened(taken, what, *shell)
steps._Step.__enter__, steps.Steps.happened = entering, noting
"""
"""Any process that has run this waits as it reaches the step named in a file, and says which process it is."""

_AGENT = """
import asyncio, sys
from pathlib import Path
from nodeagent.engine import Engine
from nodeagent.engine.contract import ContainerSpec, SandboxSpec
from nodeagent.images import Images
async def main():
    data, run, cgroup, images, sandbox, container, stop = sys.argv[1:]
    engine = Engine(Path(data), Path(run), cgroup, Images(Path(images)))
    await engine.start()
    if stop:
        await engine.stop_container(container, 1000)
    await engine.run_sandbox(SandboxSpec(sandbox, "h", "kubepods/" + sandbox))
    await engine.create_container(ContainerSpec(container, sandbox, "busybox", ("sleep", "1000")))
    await engine.start_container(container)
asyncio.run(main())
"""


class Stage:
    """Where processes wait at a step, and what is done to them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = _STOPS.format(folder=str(folder))
        os.mkfifo(folder / "gate")

    def stop_at(self, step: str) -> None:
        (self.folder / "stop-at").write_text(step)

    async def stopped(self) -> int:
        async with asyncio.timeout(60):
            while not (self.folder / "stopped").exists():  # noqa: ASYNC110  # another process makes it
                await asyncio.sleep(0.005)
        pid = int((self.folder / "stopped").read_text())
        (self.folder / "stopped").unlink()
        return pid

    def go_on(self) -> None:
        """Whoever waits may, unless it is dead."""
        with contextlib.suppress(OSError):
            os.close(os.open(self.folder / "gate", os.O_WRONLY | os.O_NONBLOCK))


def end(node, pid: int) -> None:
    assert pid in processes_of(node.run_dir)  # and no stranger
    os.kill(pid, signal.SIGKILL)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Asked for before ``node``, whose zygote then stops at steps."""
    it = Stage(tmp_path)
    path, call = "sys.path.append(sys.argv.pop());", "from nodeagent.engine.zygote import main; main(*sys.argv[1:])"
    monkeypatch.setattr(spawn, "_CODE", f"import sys; {path}\n{it.code}\n{call}")
    return it


async def steps_of(node) -> list[str]:
    """All that the zygote's children do for a container, in order."""
    await node.start("sleep 1000", "undisturbed", resources=SLOW)
    (container,) = anatomy.containers(node.data_dir, "pod")
    await node.engine.remove_container("undisturbed")
    return [step["what"] for step in container.steps]


async def all_is_well(node, until) -> None:
    """Nothing is left of what was killed, and another one runs."""
    for state in await node.engine.containers():
        await asyncio.wait_for(node.engine.remove_container(state.id), 30)
    assert await node.engine.containers() == []
    assert (await node.run("echo again", "next")).exit_code == 0
    await node.engine.remove_container("next")
    zygote = int(spawn.ping(node.run_dir)["pid"])
    await until(lambda: {*processes_of(node.run_dir)} == {zygote})


@pytest.mark.parametrize("victim", ["container", "watcher", "zygote"])
async def test_a_start_is_cut_short_at_each_step(stage, node, until, victim):
    await node.sandbox()
    steps = await steps_of(node)
    assert len(steps) > 8
    for number, step in enumerate(steps):
        name = f"c{number}"
        await node.engine.create_container(node.spec("sleep 1000", name, resources=SLOW))
        stage.stop_at(step)
        start = asyncio.create_task(node.engine.start_container(name))
        pid = await stage.stopped()
        watcher, zygote = parent(pid), int(spawn.ping(node.run_dir)["pid"])
        end(node, {"container": pid, "watcher": watcher, "zygote": zygote}[victim])
        stage.go_on()
        with contextlib.suppress(EngineError):
            await asyncio.wait_for(start, 30)
        if victim != "zygote":  # which has nothing to do with it any more
            assert (await node.exited(name)).exit_code != 0
        await all_is_well(node, until)


async def agent(node, stage, sandbox: str, container: str, stop: str = "") -> asyncio.subprocess.Process:
    """An agent of its own process, at work."""
    told = (node.data_dir, node.run_dir, node.cgroup_root, node.images._dir, sandbox, container, stop)
    return await asyncio.create_subprocess_exec(sys.executable, "-c", stage.code + _AGENT, *map(str, told))


async def test_an_agent_is_killed_at_each_step_of_a_start(stage, node, until):
    await node.engine.close()
    working = await agent(node, stage, "s", "c")
    assert await working.wait() == 0
    (sandbox,) = anatomy.sandboxes(node.data_dir, node.run_dir, node.cgroup_root)
    (container,) = anatomy.containers(node.data_dir, "s")
    steps = [each["what"] for each in (*sandbox.steps, *container.preparation, *container.steps)]
    assert len(steps) > 12
    await node.restart()
    await node.engine.remove_sandbox("s")
    for number, step in enumerate(steps):
        await node.engine.close()
        stage.stop_at(step)
        working = await agent(node, stage, f"s{number}", f"c{number}")
        await stage.stopped()
        working.kill()
        await working.wait()
        stage.go_on()  # whoever it was, if not the agent
        await node.restart()
        for state in await node.engine.sandboxes():
            await node.engine.remove_sandbox(state.id)
        assert await node.engine.containers() == []
        await node.sandbox()
        await all_is_well(node, until)
        await node.engine.remove_sandbox("pod")


@pytest.mark.parametrize("victim", ["watcher", "zygote", "agent"])
async def test_a_stop_is_cut_short(stage, node, until, victim):
    await node.sandbox()
    state = await node.start("trap 'echo asked' TERM; echo began; while true; do sleep 0.05; done")
    await until(lambda: "began" in node.log())
    watcher, zygote = parent(state.pid), int(spawn.ping(node.run_dir)["pid"])
    if victim == "agent":
        await node.engine.close()
        working = await agent(node, stage, "pod", "main", "stop")
        await until(lambda: "asked" in node.log())
        working.kill()
        await working.wait()
        await node.restart()
        assert await node.state() == state  # nothing has happened to it but a signal
        await node.engine.stop_container("main", 0)
    else:
        stopping = asyncio.create_task(node.engine.stop_container("main", 1 if victim == "zygote" else 1000))
        await until(lambda: "asked" in node.log())
        end(node, {"watcher": watcher, "zygote": zygote}[victim])
        await asyncio.wait_for(stopping, 30)
    assert (await node.state()).phase == "exited"
    await until(lambda: not procfs.start_time(state.pid))
    await all_is_well(node, until)
