"""The agent runs on uvloop, where pipes and terminals are not what they are in asyncio: both must do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from .conftest import Node


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_streams_on_either_loop(new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, images) -> None:
    async def story() -> None:
        node = Node(tmp_path, images)
        await node.engine.start()
        try:
            await node.sandbox()
            await node.start("read x; echo $x; seq 100000", stdin=True)
            for _ in range(5):
                process = await node.engine.exec("main", ["sh", "-c", "tty; read x; echo got $x"], tty=True, stdin=True)
                process.stdin.write(b"1\n")
                assert sorted((await process.stdout.read()).split()) == [b"/dev/pts/0", b"1", b"1", b"got"]
                assert await process.wait() == 0
                await process.close()
            process = await node.engine.exec("main", ["wc", "-c"], stdin=True)
            process.stdin.write(b"x" * 3_000_000)
            await process.stdin.drain()
            process.stdin.close()
            assert (await process.stdout.read(), await process.wait()) == (b"3000000\n", 0)
            await process.close()
            process = await node.engine.attach("main")
            process.stdin.write(b"word\n")
            assert len(await process.stdout.read()) == 588895 + 5
            await process.close()
        finally:
            await node.engine.teardown()
            node.run_dir.parent.rmdir()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(story())
