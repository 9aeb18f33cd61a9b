"""What the client of exec and attach is told at the end: its exit code, or why nothing ran."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from nodeagent.engine.contract import Process, StartFailed
from nodeagent.server.channels import STDERR, STDOUT, SUCCESS, Resized, Typed, Wanted
from nodeagent.server.remotecommand import attached_status, join
from shim.api.meta import Object


class Client:
    """Types nothing, and remembers what it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.status: Object = {}

    async def events(self) -> AsyncIterator[Typed | Resized]:
        await asyncio.Event().wait()
        yield Typed(None)

    async def out(self, channel: int, data: bytes) -> None:
        self.seen.append((channel, data))

    async def finish(self, status: Object) -> None:
        self.status = status


class Ended:
    """A process that has said its last word and exited with a code."""

    stdin: asyncio.StreamWriter | None = None
    stderr: asyncio.StreamReader | None = None

    def __init__(self, code: int) -> None:
        self._code = code
        self.stdout: asyncio.StreamReader | None = asyncio.StreamReader()
        self.stdout.feed_data(b"bye\n")
        self.stdout.feed_eof()

    async def wait(self) -> int:
        return self._code

    def resize(self, columns: int, rows: int) -> None: ...

    async def close(self) -> None: ...


ALL = Wanted(stdin=False, stdout=True, stderr=True, tty=False)
TERMINAL = Wanted(stdin=True, stdout=True, stderr=False, tty=True)


async def ended(size: tuple[int, int] | None) -> Process:
    return Ended(3)


async def missing(size: tuple[int, int] | None) -> Process:
    raise StartFailed('exec: "nope": executable file not found in $PATH', 127)


async def test_exec_ends_with_the_commands_exit_code() -> None:
    client = Client()
    await join(client, ALL, ended)
    assert client.seen == [(STDOUT, b"bye\n")]
    assert client.status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_attach_only_watches_so_it_ends_well_however_the_container_ended() -> None:
    client = Client()
    await join(client, ALL, ended, attached_status)
    assert client.seen == [(STDOUT, b"bye\n")]
    assert client.status == SUCCESS


async def test_a_program_that_is_not_there_is_named_and_ends_as_in_a_shell() -> None:
    client, terminal = Client(), Client()
    await join(client, ALL, missing)
    await join(terminal, TERMINAL, missing)
    assert client.seen == [(STDERR, b'exec: "nope": executable file not found in $PATH\n')]
    assert terminal.seen == [(STDOUT, b'exec: "nope": executable file not found in $PATH\r\n')]
    assert client.status["details"]["causes"] == [{"reason": "ExitCode", "message": "127"}]
