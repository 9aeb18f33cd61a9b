"""exec and attach: streams, terminals, exit codes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from nodeagent.engine import execute
from nodeagent.engine.contract import EngineError, StartFailed
from nodeagent.linux.tests.trees import sleeps_in, version_2


async def test_exec_runs_beside_the_container(node):
    await node.sandbox()
    await node.start("sleep 100", env=(("A", "b"),), cwd="/tmp")
    code, out, err = await node.exec(
        "sh", "-c", "echo $A; pwd; hostname; cat /proc/1/cmdline | tr '\\0' ' '; echo e >&2; exit 4"
    )
    assert (code, out.splitlines()[:3], err) == (4, ["b", "/tmp", "host-pod"], "e\n")
    assert "sleep 100" in out


async def test_exec_has_the_containers_powers_and_cgroup(node):
    await node.sandbox()
    await node.start("sleep 100", capabilities=frozenset({"CAP_KILL"}))
    _, out, _ = await node.exec(
        "sh", "-c", "grep CapEff /proc/self/status; grep -e memory -e ^0: /proc/self/cgroup | head -1; ls /proc/self/fd"
    )
    assert "0000000000000020" in out
    assert ":/\n" in out
    assert out.split()[-4:-1] == ["0", "1", "2"]  # and the fourth is ls's own


def test_exec_goes_where_the_container_s_process_went():
    """Version 2 lets nobody into a cgroup that passes controllers on: a container's own, once systemd is in it."""
    with version_2() as (tree, folder):
        inner, join = f"{folder.name}/id/init.scope", tree.join_files(f"{folder.name}/id")
        tree.create(inner)
        pid = sleeps_in(tree, inner)
        assert execute.cgroups_of(pid, join) == tree.join_files(inner)
        assert execute.cgroups_of(os.getpid(), join) == join
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def test_exec_with_stdin(node):
    await node.sandbox()
    await node.start("sleep 100")
    process = await node.engine.exec("main", ["wc", "-c"], stdin=True)
    process.stdin.write(b"x" * 300_000)
    await process.stdin.drain()
    process.stdin.write_eof()
    assert (await process.stdout.read()).strip() == b"300000"
    assert await process.wait() == 0
    await process.close()


async def test_exec_with_a_terminal(node):
    await node.sandbox()
    await node.start("sleep 100")
    process = await node.engine.exec(
        "main", ["sh", "-c", "read x; stty size; tty; echo $TERM $x; exit 2"], tty=True, stdin=True
    )
    process.resize(100, 40)
    assert process.stderr is None
    process.stdin.write(b"typed\n")
    assert (await process.stdout.read()).split() == [b"typed", b"40", b"100", b"/dev/pts/0", b"xterm", b"typed"]
    assert await process.wait() == 2
    await process.close()


async def test_a_terminal_has_its_size_before_the_command_runs(node):
    await node.sandbox()
    await node.start("sleep 100")
    for _ in range(5):
        process = await node.engine.exec("main", ["stty", "size"], tty=True, size=(33, 77))
        assert (await process.stdout.read()).split() == [b"33", b"77"]
        await process.close()


async def test_closing_an_exec_kills_it(node, until):
    await node.sandbox()
    await node.start("sleep 100")
    process = await node.engine.exec("main", ["sleep", "1000"])
    assert "sleep 1000" in (await node.exec("ps"))[1]
    await process.close()
    async with asyncio.timeout(60):
        while "sleep 1000" in (await node.exec("ps"))[1]:
            pass


async def test_exec_that_cannot_start_says_why(node):
    await node.sandbox()
    await node.start("sleep 100")
    with pytest.raises(StartFailed, match='exec: "nothere": executable file not found') as failed:
        await node.engine.exec("main", ["nothere"])
    assert failed.value.code == 127


async def test_exec_in_a_container_that_has_ended(node):
    await node.sandbox()
    await node.run("true")
    with pytest.raises(EngineError, match="not running"):
        await node.engine.exec("main", ["true"])


async def test_attach_gets_output_and_gives_input(node):
    await node.sandbox()
    await node.start("read a; echo out $a; echo err $a >&2; read b; exit 5", stdin=True)
    process = await node.engine.attach("main")
    process.stdin.write(b"1\n")
    assert await process.stdout.readline() == b"out 1\n"
    assert await process.stderr.readline() == b"err 1\n"
    process.stdin.write(b"2\n")
    assert await process.wait() == 5
    assert await process.stdout.read() == b""
    await process.close()
    assert node.log() == "out 1\n"


async def test_stdin_once_ends_with_the_first_client(node):
    await node.sandbox()
    await node.start("cat; echo ended", stdin=True, stdin_once=True)
    process = await node.engine.attach("main")
    process.stdin.write(b"text\n")
    assert await process.stdout.readline() == b"text\n"
    process.stdin.close()
    assert (await process.stdout.read(), await process.wait()) == (b"ended\n", 0)
    await process.close()


async def test_stdin_stays_open_for_the_next_client(node):
    await node.sandbox()
    await node.start("while read x; do echo got $x; done", stdin=True)
    for word in (b"one", b"two"):
        process = await node.engine.attach("main")
        process.stdin.write(word + b"\n")
        assert await process.stdout.readline() == b"got " + word + b"\n"
        await process.close()


async def test_attach_to_a_terminal(node):
    await node.sandbox()
    await node.start("read x; stty size; tty; test -c /dev/console && echo got $x", tty=True, stdin=True)
    process = await node.engine.attach("main")
    process.resize(80, 24)
    process.stdin.write(b"it\n")
    assert (await process.stdout.read()).split() == [b"it", b"24", b"80", b"/dev/pts/0", b"got", b"it"]
    assert await process.wait() == 0
    await process.close()


async def test_a_slow_reader_loses_nothing(node):
    await node.sandbox()
    await node.start("read x; seq 500000", stdin=True)
    process = await node.engine.attach("main")
    process.stdin.write(b"\n")
    text = b""
    while data := await process.stdout.read(65536):
        text += data
    assert text == b"".join(b"%d\n" % number for number in range(1, 500001))
    await process.close()
