"""How does the engine find its zygote, or start one, and talk to it?"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nodeagent.engine import wire, zygote
from nodeagent.engine.channel import Channel
from nodeagent.engine.contract import EngineError
from nodeagent.linux import mounts, namespaces, procfs

log = logging.getLogger(__name__)

_PACKAGES = Path(__file__).parents[2]  # the folder that holds nodeagent
_CODE = "import sys; sys.path.append(sys.argv.pop()); from nodeagent.engine.zygote import main; main(*sys.argv[1:])"


def version() -> str:
    """Changes with the code that the zygote runs and with the Python that runs it."""
    digest = hashlib.sha256(sys.version.encode())
    for folder in ("engine", "linux"):
        for path in sorted((_PACKAGES / "nodeagent" / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def ping(run_dir: Path) -> dict[str, str] | None:
    """What the zygote says of itself; None when there is none."""
    try:
        with wire.connect(str(run_dir / zygote.SOCKET)) as sock:
            sock.settimeout(5.0)
            wire.send(sock, {"op": "ping"})
            packet = wire.receive(sock)
    except OSError:
        return None
    return packet.body if packet else None


async def ensure(run_dir: Path) -> None:
    """Have a zygote that runs this code in our own network namespace. Containers of an earlier one live on."""
    current = await asyncio.to_thread(ping, run_dir)
    if current is not None:
        pid = int(current["pid"])
        if current["version"] == version() and namespaces.identity("net", pid) == namespaces.identity("net"):
            return
        await asyncio.to_thread(stop, run_dir)
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-I", "-S", "-c", _CODE, str(run_dir), version(), str(_PACKAGES)]
    code, errors = await asyncio.to_thread(_run, command, run_dir / zygote.LOG)
    if code not in (0, 3):  # 3: another caller was first
        raise EngineError(f"the zygote does not start: {errors}")
    log.info("started a zygote in %s", run_dir)


def _run(command: list[str], log_path: Path) -> tuple[int, str]:
    """Run until the first process ends: the daemon it leaves listens by then. Its errors go to a file, as a pipe
    would stay open as long as the daemon and its containers.

    The program is run from a mount of its own that nobody can write to. A container that runs ``/proc/self/exe`` gets
    hold of what the zygote's child was running then, which is the node's Python (CVE-2019-5736).
    """
    program = mounts.take(os.path.realpath(command[0]), readonly=True, recursive=False)
    try:
        with log_path.open("ab") as errors:
            done = subprocess.run(
                command,
                executable=f"/proc/self/fd/{program}",
                pass_fds=(program,),
                # In that mount it stands in no folder, beside which a Python of its own prefix would find its library.
                # Nothing else: what is forked from it comes near to containers.
                env={"LD_LIBRARY_PATH": os.path.join(sys.base_prefix, "lib")},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                check=False,
            )
    finally:
        os.close(program)
    return done.returncode, log_path.read_text(errors="replace").strip()[-2000:]


def stop(run_dir: Path) -> None:
    """End the zygote, and wait for that; its containers live on."""
    current = ping(run_dir)
    if current is None:
        return
    pid = int(current["pid"])
    started = procfs.start_time(pid)
    try:
        with wire.connect(str(run_dir / zygote.SOCKET)) as sock:
            wire.send(sock, {"op": "stop"})
            wire.receive(sock)
    except OSError:
        pass
    if started:
        procfs.end(pid, started)
    try:
        os.unlink(run_dir / zygote.SOCKET)
    except FileNotFoundError:
        pass


class Zygote:
    """The zygote of a node, as it is talked to. One that was killed is started anew: its containers run on."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._lock = asyncio.Lock()

    async def open(self) -> Channel:
        """A connection of one's own, for one request. Raises EngineError and OSError."""
        path = str(self._run_dir / zygote.SOCKET)
        try:
            return Channel.open(path)
        except OSError:
            async with self._lock:
                await ensure(self._run_dir)
            return Channel.open(path)

    async def ask(self, request: Any) -> dict[str, Any]:
        """Its answer. Raises EngineError and OSError."""
        channel = await self.open()
        try:
            send(channel, request)
            packet = await channel.receive()
        finally:
            channel.close()
        if packet is None:
            raise EngineError("the zygote was lost")
        return packet.body


def send(channel: Channel, request: Any) -> None:
    """Give the zygote a request, in a file of memory: it may be longer than a packet."""
    memfd = wire.request_file(request)
    try:
        channel.send({"op": request["op"]}, [memfd])
    finally:
        os.close(memfd)
