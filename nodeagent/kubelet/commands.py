"""Short commands and requests that the kubelet makes on a container's behalf: probes and hooks use them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from nodeagent.engine.contract import Engine
from shim.api.gotext import go_quoted
from shim.api.meta import Object
from shim.api.version import MAJOR, MINOR

MOST_REDIRECTS = 10
OUTPUT_LIMIT = 10 * 1024  # of a command's output or an answer's body, as upstream's probes keep


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str


class TooManyRedirects(aiohttp.ClientError):
    """A server sent us from one address of its own to the next for too long."""


class CommandTimeout(Exception):
    """The command did not end in time and was killed."""


async def run(engine: Engine, container: str, argv: Sequence[str], timeout: float | None) -> tuple[int, str]:
    """Exit code and output of a command in a container. Raises CommandTimeout, EngineError."""
    code, output, complaints = await outcome(engine, container, argv, timeout)
    return code, (output + complaints)[:OUTPUT_LIMIT]


async def outcome(engine: Engine, container: str, argv: Sequence[str], timeout: float | None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in a container. Raises CommandTimeout, EngineError."""
    process = await engine.exec(container, argv)
    try:
        async with asyncio.timeout(timeout):
            streams = asyncio.gather(_read(process.stdout), _read(process.stderr))
            (output, complaints), code = await asyncio.gather(streams, process.wait())
            return code, output, complaints
    except TimeoutError:
        raise CommandTimeout from None
    finally:
        await process.close()


async def _read(stream: asyncio.StreamReader | None) -> str:
    kept = b""
    while stream is not None and (chunk := await stream.read(65536)):
        kept += chunk[: OUTPUT_LIMIT - len(kept)]
    return kept.decode(errors="replace")


def port_of(container: Object, port: int | str) -> int:
    """A port by number or by the name the container gives it. Raises ValueError."""
    for known in container.get("ports") or ():
        if known.get("name") == port:
            return int(known["containerPort"])
    if not str(port).isdigit():
        raise ValueError(f"strconv.Atoi: parsing {go_quoted(str(port))}: invalid syntax")
    return int(port)


def url_of(action: Object, container: Object, ip: str) -> str:
    """The address an httpGet asks."""
    host = action.get("host") or ip
    host = f"[{host}]" if ":" in host else host
    path = str(action.get("path") or "/")
    return (
        f"{(action.get('scheme') or 'HTTP').lower()}://{host}:{port_of(container, action['port'])}/{path.lstrip('/')}"
    )


async def http_get(
    session: aiohttp.ClientSession, url: str, action: Object, timeout: float | None, *, who: str = "kube-probe"
) -> Answer:
    """Ask once; certificates are not checked. Raises aiohttp.ClientError, TimeoutError.

    A redirect is followed on the same host only: a pod must not send us, who are on the node, to whom it likes.
    """
    headers: CIMultiDict[str] = CIMultiDict({"User-Agent": f"{who}/{MAJOR}.{MINOR}", "Accept": "*/*"})
    told = action.get("httpHeaders") or ()
    for header in told:
        headers.popall(header["name"], None)
    for header in told:
        headers.add(header["name"], header["value"])
    asked = URL(url, encoded=True)
    async with asyncio.timeout(timeout):
        for _ in range(MOST_REDIRECTS):
            async with session.get(asked, headers=headers, ssl=False, allow_redirects=False) as answer:
                location = answer.headers.get("Location") if answer.status in (301, 302, 303, 307, 308) else None
                following = asked.join(URL(location)) if location else None
                if following is None or following.host != asked.host or following.scheme not in ("http", "https"):
                    body = (await answer.content.read(OUTPUT_LIMIT)).decode(errors="replace")
                    return Answer(answer.status, body)
            asked = following
    raise TooManyRedirects(f"stopped after {MOST_REDIRECTS} redirects")


def get_failed(url: str, error: Exception) -> str:
    """Why nobody answered, as Go's client says it."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = OSError(f"dial tcp {error.host}:{error.port}: connect: {reason(error.os_error)}")
    return f'Get "{url}": {error}'


def reason(error: OSError) -> str:
    """The kernel's words, in lower case as Go prints them."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


async def tcp_connect(host: str, port: int, timeout: float) -> None:
    """Raises OSError, TimeoutError."""
    async with asyncio.timeout(timeout):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
