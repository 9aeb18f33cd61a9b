"""What does the caller of exec and attach hold? The streams of a process, and the channel to who watches it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from nodeagent.engine import pipes
from nodeagent.engine.channel import Channel
from nodeagent.engine.contract import EngineError, StartFailed


class RunningProcess:
    """See ``contract.Process``."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._terminal = -1
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begin to wait for the exit."""
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while packet := await self._channel.receive():
            if "exited" in packet.body:
                self._end.set_result(int(packet.body["exited"]["exit_code"]))
                return
        self._end.set_exception(EngineError("lost sight of the process"))
        self._end.exception()  # retrieved: it is nobody's mistake not to wait

    def use_terminal(self, fd: int) -> None:
        """``fd`` is the terminal's master; from now on it is ours."""
        self._terminal = fd

    def connect(self, stdin: int, stdout: int, stderr: int) -> None:
        """Wrap the ends that we keep; -1 is none."""
        if stdin >= 0:
            self.stdin = self._writer(stdin)
        if stdout >= 0:
            self.stdout = self._reader(stdout)
        if stderr >= 0:
            self.stderr = self._reader(stderr)

    def _writer(self, fd: int) -> asyncio.StreamWriter:
        transport, writer = pipes.write_to(fd)
        self._transports.append(transport)
        return writer

    def _reader(self, fd: int) -> asyncio.StreamReader:
        transport, reader = pipes.read_from(fd)
        self._transports.append(transport)
        return reader

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        elif not self._end.done():
            try:
                self._channel.send({"op": "resize", "columns": columns, "rows": rows})
            except (EngineError, OSError):  # it ended meanwhile
                pass

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        for transport in self._transports:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
            else:
                transport.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        self._channel.close()


class Pipes:
    """Pipes for ``names`` of stdin, stdout, stderr: ``theirs`` go to the process, ``ours`` stay."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.theirs: list[int] = []
        self.ours: dict[str, int] = {}
        for name in names:
            read, write = os.pipe()
            self.theirs.append(read if name == "stdin" else write)
            self.ours[name] = write if name == "stdin" else read

    def handed_over(self) -> None:
        """Their ends are theirs now: ours close, or the end of a stream is never seen."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs.clear()

    def kept(self) -> tuple[int, int, int]:
        """Our ends of stdin, stdout and stderr, -1 for none; they are the caller's from now on."""
        ours, self.ours = self.ours, {}
        return ours.get("stdin", -1), ours.get("stdout", -1), ours.get("stderr", -1)

    def close(self) -> None:
        self.handed_over()
        for fd in self.ours.values():
            os.close(fd)
        self.ours.clear()


@asynccontextmanager
async def _starting(channel: Channel, names: Sequence[str]) -> AsyncIterator[tuple[RunningProcess, Pipes]]:
    """A process and its pipes on their way; both are closed if they do not get there."""
    made = Pipes(names)
    process = RunningProcess(channel)
    try:
        yield process, made
        process.watch()
    except BaseException:
        made.close()
        await process.close()
        raise


async def run_exec(channel: Channel, request: int, names: Sequence[str], *, stdin: bool) -> RunningProcess:
    """Send an exec request (a memfd) and wait until the command runs. Raises StartFailed."""
    async with _starting(channel, names) as (process, made):
        channel.send({"op": "exec"}, [request, *made.theirs])
        made.handed_over()
        terminal = -1
        while True:
            packet = await channel.receive()
            if packet is None:
                raise EngineError("the command could not be run")
            if "failed" in packet.body:
                raise StartFailed(packet.body["failed"], packet.body["code"])
            if "terminal" in packet.body:
                (terminal,) = packet.fds
            if "started" in packet.body:
                break
        if terminal >= 0:
            process.use_terminal(terminal)
            process.connect(os.dup(terminal) if stdin else -1, os.dup(terminal), -1)
        else:
            process.connect(*made.kept())
    return process


async def run_attach(channel: Channel, *, stdin: bool, tty: bool) -> RunningProcess:
    """Have the monitor at the other end of ``channel`` copy the container's streams to us."""
    names = [*(["stdin"] if stdin else []), "stdout", *([] if tty else ["stderr"])]
    async with _starting(channel, names) as (process, made):
        channel.send({"op": "attach", "streams": made.names}, made.theirs)
        made.handed_over()
        await channel.answer("attached")
        process.connect(*made.kept())
    return process
