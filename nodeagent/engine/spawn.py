"""How does the engine find its zygote, or start one?"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

from nodeagent.engine import wire, zygote
from nodeagent.engine.contract import EngineError
from nodeagent.linux import namespaces, procfs

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
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    errors = await process.stderr.read()  # ends when the zygote has let go of it: it listens by then
    if await process.wait() not in (0, 3):  # 3: another caller was first
        raise EngineError(f"the zygote does not start: {errors.decode(errors='replace').strip()[-2000:]}")
    log.info("started a zygote in %s", run_dir)


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
