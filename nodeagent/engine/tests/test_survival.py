"""What outlives what: agents and zygotes die, containers run on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from nodeagent.engine import spawn, teardown_node
from nodeagent.engine.contract import EngineError
from nodeagent.linux import libc, mounts, procfs

from .conftest import processes_of


async def test_a_new_engine_takes_up_what_runs(node):
    await node.sandbox()
    before = await node.start("read x; exit 7", stdin=True)
    await node.restart()
    assert await node.state() == before
    process = await node.engine.attach("main")
    process.stdin.write(b"\n")
    assert await process.wait() == 7
    await process.close()
    assert (await node.exited()).exit_code == 7


async def test_an_exit_while_no_engine_looked_is_known(node, until):
    await node.sandbox()
    state = await node.start("sleep 1000")
    await node.engine.close()
    os.kill(state.pid, signal.SIGKILL)
    await until(lambda: (node.data_dir / "containers/main/exit.json").exists())
    await node.restart()
    state = await node.state()
    assert (state.phase, state.exit_code, state.signal) == ("exited", 137, 9)


async def test_a_killed_agent_changes_nothing(node):
    script = """
import asyncio, os, signal, sys
from pathlib import Path
from nodeagent.engine import Engine
from nodeagent.engine.contract import ContainerSpec, SandboxSpec
from nodeagent.images import Images
async def main():
    data, run, cgroup, images = sys.argv[1:]
    engine = Engine(Path(data), Path(run), cgroup, Images(Path(images)))
    await engine.start()
    await engine.run_sandbox(SandboxSpec("pod", "h", "kubepods/pod"))
    await engine.create_container(ContainerSpec("main", "pod", "busybox", ("sleep", "1000")))
    await engine.start_container("main")
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    command = [sys.executable, "-c", script, node.data_dir, node.run_dir, node.cgroup_root, node.images._dir]
    agent = await asyncio.create_subprocess_exec(*map(str, command))
    assert await agent.wait() == -signal.SIGKILL
    await node.restart()
    state = await node.state()
    assert state.phase == "running"
    assert procfs.start_time(state.pid)


async def test_a_killed_zygote_is_replaced(node, until):
    await node.sandbox()
    before = await node.start("sleep 1000")
    pid = int(spawn.ping(node.run_dir)["pid"])
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not procfs.start_time(pid))
    await node.run("exit 6", "second")
    assert (await node.state("second")).exit_code == 6
    assert await node.state() == before
    assert int(spawn.ping(node.run_dir)["pid"]) != pid


async def test_a_killed_monitor_takes_its_container_along(node, until):
    await node.sandbox()
    state = await node.start("sleep 1000")
    monitor = int(Path(f"/proc/{state.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    ended = await node.exited()
    assert ended.exit_code == 255
    await until(lambda: not procfs.start_time(state.pid))


async def test_what_an_agent_left_half_made_is_cleared(node):
    await node.sandbox(share_pid=True)
    spec = node.data_dir / "sandboxes/pod/spec.json"
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "made": {}}))
    (node.data_dir / "containers/half/rootfs").mkdir(parents=True)
    await node.restart()
    assert await node.engine.sandboxes() == []
    assert await node.engine.containers() == []
    assert os.listdir(node.data_dir / "containers") == os.listdir(node.run_dir / "sandboxes") == []


async def test_starting_twice_at_once_starts_once(node):
    await node.sandbox()
    await node.engine.create_container(node.spec("echo once; sleep 1000"))
    first, second = await asyncio.gather(node.engine.start_container("main"), node.engine.start_container("main"))
    assert first == second
    assert await node.engine.start_container("main") == first


async def test_after_a_reboot_all_is_stopped(node):
    await node.sandbox()
    await node.start("sleep 1000")
    await node.engine.create_container(node.spec("echo later", "second"))
    await node.engine.close()
    await teardown_node(node.data_dir, node.run_dir, node.cgroup_root)
    for left in ("begun.json", "started.json"):
        assert (node.data_dir / "containers/main" / left).exists()
    (node.data_dir / "containers/main/exit.json").unlink()  # power does not fail in an orderly way
    await node.restart()
    assert [(s.id, s.ready) for s in await node.engine.sandboxes()] == [("pod", False)]
    state = await node.state()
    assert (state.phase, state.exit_code) == ("exited", 255)
    assert (await node.state("second")).phase == "created"
    await node.engine.remove_sandbox("pod")
    assert await node.engine.containers() == []


async def test_teardown_of_everything(node):
    await node.sandbox(share_pid=True)
    await node.sandbox("other")
    await node.start("sleep 1000")
    await node.start("sleep 1000", "second", "other")
    await node.engine.exec("second", ["sleep", "1000"])
    await node.engine.teardown()
    assert processes_of(node.run_dir) == []
    assert not node.run_dir.exists()
    assert {state.exit_code for state in await node.engine.containers()} == {137}
    await node.engine.teardown()


async def test_teardown_unmounts_volumes_and_keeps_files(node):
    volume = node.data_dir / "pods/uid/volumes/memory"
    volume.mkdir(parents=True)
    libc.mount("tmpfs", str(volume), "tmpfs", 0, "size=64k")
    (node.data_dir / "pods/uid/file").touch()
    await node.engine.teardown()
    assert not volume.is_mount()
    assert (node.data_dir / "pods/uid/file").exists()


async def test_teardown_when_data_is_gone_already(node):
    await node.sandbox()
    await node.start("sleep 1000")
    await node.engine.close()
    shutil.rmtree(node.data_dir)
    await teardown_node(node.data_dir, node.run_dir, node.cgroup_root)
    assert processes_of(node.run_dir) == []


def forked_by(run_dir: Path, but: set[int]) -> set[int]:
    """What the zygote has forked since: monitors, and what is on its way to become a container."""
    return {*processes_of(run_dir)} - but


@pytest.mark.parametrize("moment", range(8))
async def test_what_starts_a_container_is_killed_at_any_moment(node, moment):
    """Whatever was done by then: the start failed or the container ended, nothing is left, and the next one runs."""
    await node.sandbox()
    before = {*processes_of(node.run_dir)}
    await node.engine.create_container(node.spec("sleep 1000"))
    start = asyncio.create_task(node.engine.start_container("main"))
    seen = 0
    while seen <= moment and not start.done():  # each turn of the loop is another moment
        seen += bool(forked_by(node.run_dir, before))
        await asyncio.sleep(0.001)
    for pid in forked_by(node.run_dir, before):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(EngineError):
        await asyncio.wait_for(start, 60)
    state = await node.exited()
    assert state.exit_code != 0
    await node.engine.remove_container("main")
    assert await node.engine.containers() == []
    assert (await node.run("echo again", "next")).exit_code == 0
    assert node.log("next") == "again\n"


@pytest.mark.parametrize("moment", range(4))
async def test_the_zygote_is_killed_at_any_moment_of_a_start(node, moment, until):
    await node.sandbox()
    await until(lambda: len(processes_of(node.run_dir)) == 1)  # what made the sandbox has ended
    (zygote,) = processes_of(node.run_dir)
    await node.engine.create_container(node.spec("echo here; sleep 1000"))
    start = asyncio.create_task(node.engine.start_container("main"))
    for _ in range(moment):
        await asyncio.sleep(0.001)
    os.kill(zygote, signal.SIGKILL)
    with contextlib.suppress(EngineError):
        await asyncio.wait_for(start, 60)
    await node.engine.remove_container("main")
    await until(lambda: zygote not in processes_of(node.run_dir))  # a busy machine takes its time to end a process
    assert (await node.run("echo again", "next")).exit_code == 0  # a new one has been started


async def test_on_a_full_disk_creation_fails_and_leaves_nothing(node, tmp_path):
    """A file system of its own with no room left; as soon as there is some, containers run."""
    small = node.data_dir / "containers"
    libc.mount("tmpfs", str(small), "tmpfs", 0, "size=256k,mode=700")
    try:
        await node.sandbox()
        with contextlib.suppress(OSError), (small / "filler").open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        with pytest.raises((EngineError, OSError), match="No space left"):
            await node.engine.create_container(node.spec("true"))
        assert [path.name for path in small.iterdir()] == ["filler"]
        (small / "filler").unlink()
        assert (await node.run("echo room")).exit_code == 0
        await node.engine.remove_container("main")
    finally:
        libc.umount(str(small), mounts.DETACH)
