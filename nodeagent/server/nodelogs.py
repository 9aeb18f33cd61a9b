"""The logs of the node itself: files below ``/var/log`` by their path, services by a query (KEP-2258).

A service's log is the agent's own for ``kubelet``, else systemd's journal, else a file that is named after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import html
import mimetypes
import os
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from nodeagent.linux import libc
from nodeagent.server import logquery
from nodeagent.server.logquery import BadQuery, LogQuery

FOLDER = Path("/var/log")
OWN = "kubelet"
PATIENCE = 30.0  # for a command; as upstream
BLOCK = 1 << 16


class NodeLogs:
    """Answers ``/logs/``. No path and no link in it leads out of the folder."""

    def __init__(self, folder: Path = FOLDER, own: Path | None = None) -> None:
        """``own``: the agent's log; by default the file that its messages go to."""
        self._folder, self._own = folder, own or _written_to()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info.get("path", "")
        try:
            query = logquery.parse(dict(request.query), request.query.getall("query", []))
        except BadQuery as error:
            return web.Response(status=error.status, text=f"{error}\n")
        if query is None:
            return await self._file(request, path)
        if path:
            return web.Response(status=406, text="path not allowed in query mode\n")
        if query.files:
            return await self._file(request, query.files[0].replace("\\", "/"))
        response = web.StreamResponse(headers={"Content-Type": "text/plain;charset=UTF-8"})
        await response.prepare(request)
        async for piece in self._services(query):
            await response.write(piece)
        return response

    # Files.

    async def _file(self, request: web.Request, path: str) -> web.StreamResponse:
        try:
            root = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return _missing()
        try:
            fd = libc.open_in_root(root, path or ".", os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return _missing()
        except OSError as error:
            return web.Response(status=403 if isinstance(error, PermissionError) else 500, text=f"{error.strerror}\n")
        finally:
            os.close(root)
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                return _missing()
            if path and stat.S_ISDIR(mode) != request.path.endswith("/") and "query" not in request.query:
                last = quote(request.path.rstrip("/").rpartition("/")[2])
                location = f"{last}/" if stat.S_ISDIR(mode) else f"../{last}"
                return web.Response(status=301, headers={"Location": location})
            return _listing(fd) if stat.S_ISDIR(mode) else await _content(request, path, fd)
        finally:
            os.close(fd)

    # Services.

    async def _services(self, query: LogQuery) -> AsyncIterator[bytes]:
        known = await _units()
        native = [name for name in query.services if name != OWN and f"{name}.service" in known]
        plain = [name for name in query.services if name not in native and not (name == OWN and self._own)]
        if plain and query.options:
            listed = " ".join(plain)
            text = f"\noptions present and query resolved to log files for [{listed}]\ntry without specifying options\n"
            yield text.encode()
            return
        if OWN in query.services and self._own:
            lines = await asyncio.to_thread(_lines, self._own)
            found = b"".join(logquery.chosen(lines, query.options, _booted()))
            yield found or b"-- No entries --\n"  # as journalctl says it
        for name in plain:
            yield await asyncio.to_thread(self._of_service, name)
        if native:
            asked = LogQuery(tuple(native), (), query.options)
            async for piece in _output(logquery.journal_command(asked)):
                yield piece

    def _of_service(self, name: str) -> bytes:
        """``name``, ``name.log`` or ``name/name.log``, whichever there is first."""
        root = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            for path in (name, f"{name}.log", f"{name}/{name}.log"):
                with contextlib.suppress(OSError):
                    fd = libc.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
                    with open(fd, "rb") as file:  # a folder raises, and counts as absent
                        return file.read()
        finally:
            os.close(root)
        return f"\nlog not found for {name}\n".encode()


def _missing() -> web.Response:
    return web.Response(status=404, text="404 page not found\n")


def _listing(folder: int) -> web.Response:
    """What is in a folder, as Go's file server shows it."""
    entries = sorted(f"{each.name}/" if each.is_dir() else each.name for each in os.scandir(folder))
    links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in entries)
    head = '<!doctype html>\n<meta name="viewport" content="width=device-width">\n'
    return web.Response(text=f"{head}<pre>\n{links}</pre>\n", content_type="text/html", charset="utf-8")


async def _content(request: web.Request, path: str, fd: int) -> web.StreamResponse:
    """A file as it is now; what is written to it meanwhile is left out."""
    left = os.fstat(fd).st_size
    response = web.StreamResponse(headers={"Content-Type": _kind(path, os.pread(fd, 512, 0))})
    response.content_length = left
    await response.prepare(request)
    while left and (piece := os.read(fd, min(left, BLOCK))):
        left -= len(piece)
        await response.write(piece)
    return response


def _kind(path: str, head: bytes) -> str:
    known, encoded = mimetypes.guess_type(path)
    if known and not encoded:
        return f"{known}; charset=utf-8" if known.startswith("text/") else known
    if head.startswith(b"\x1f\x8b"):
        return "application/x-gzip"
    return "application/octet-stream" if b"\0" in head else "text/plain; charset=utf-8"


def _written_to() -> Path | None:
    """Where this process's messages go, if that is a file."""
    with contextlib.suppress(OSError):
        path = Path(os.readlink("/proc/self/fd/2"))
        if path.is_file():
            return path
    return None


def _booted() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME), datetime.UTC)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        return [f"\nerror getting log for {OWN}: {error.strerror}\n".encode()]


async def _units() -> frozenset[str]:
    """The services that the journal has something of."""
    text = b"".join([piece async for piece in _output(["journalctl", "--field", "_SYSTEMD_UNIT"], only_good=True)])
    return frozenset(text.decode(errors="replace").split())


async def _output(command: list[str], *, only_good: bool = False) -> AsyncIterator[bytes]:
    """What a command says; with ``only_good`` nothing where it fails."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL if only_good else asyncio.subprocess.STDOUT,
        )
    except OSError:
        if not only_good:
            yield b"\nerror: journal output not available\n"
        return
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            while piece := await process.stdout.read(BLOCK):
                yield piece
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
