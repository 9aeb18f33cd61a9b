"""One check of one container: http, tcp or a command. Its answer, in the words of the event that tells of it."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import aiohttp

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.kubelet import commands
from shim.api.meta import Object


@dataclass(frozen=True, slots=True)
class Outcome:
    """``error``: the check itself could not be made; nothing is known then."""

    result: Literal["success", "failure", "error"]
    output: str = ""
    refused: bool = False  # nobody listens on the port (yet): the container has noticed nothing


SUCCESS = Outcome("success")


async def check(
    probe: Object, container: Object, run: str, ip: str, *, engine: Engine, http: aiohttp.ClientSession
) -> Outcome:
    """Ask the container once, within the probe's timeout."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    if told := probe.get("exec"):
        return await _command(engine, run, told.get("command") or (), timeout)
    if told := probe.get("httpGet"):
        return await _http(http, told, container, ip, timeout)
    if told := probe.get("tcpSocket"):
        return await _tcp(told, container, ip, timeout)
    return Outcome("error", f"{', '.join(set(probe) & {'grpc'}) or 'such'} probes are not built yet")


async def _command(engine: Engine, run: str, argv: Sequence[str], timeout: float) -> Outcome:
    try:
        code, output = await commands.run(engine, run, argv, timeout)
    except commands.CommandTimeout:
        return Outcome("failure", f'command timed out: "{shlex.join(argv)}" timed out after {timeout:g}s')
    except EngineError as error:
        return Outcome("error", str(error))
    return Outcome("success" if code == 0 else "failure", output)


async def _http(http: aiohttp.ClientSession, told: Object, container: Object, ip: str, timeout: float) -> Outcome:
    try:
        url = commands.url_of(told, container, ip)
    except ValueError as error:
        return Outcome("error", str(error))
    try:
        answer = await commands.http_get(http, url, told, timeout)
    except TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Outcome("failure", f'Get "{url}": {why}')
    except aiohttp.ClientConnectorError as error:
        why = f"dial tcp {error.host}:{error.port}: connect: {_reason(error.os_error)}"
        return Outcome("failure", f'Get "{url}": {why}', refused=_refused(error.os_error))
    except (aiohttp.ClientError, OSError) as error:
        return Outcome("failure", f'Get "{url}": {error}')
    if 200 <= answer.status < 400:
        return SUCCESS
    return Outcome("failure", f"HTTP probe failed with statuscode: {answer.status}")


async def _tcp(told: Object, container: Object, ip: str, timeout: float) -> Outcome:
    try:
        host, port = told.get("host") or ip, commands.port_of(container, told["port"])
    except ValueError as error:
        return Outcome("error", str(error))
    try:
        await commands.tcp_connect(host, port, timeout)
    except TimeoutError:
        return Outcome("failure", f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome("failure", f"dial tcp {host}:{port}: connect: {_reason(error)}", refused=_refused(error))
    return SUCCESS


def _refused(error: OSError) -> bool:
    return error.errno == errno.ECONNREFUSED


def _reason(error: OSError) -> str:
    """The kernel's words, in lower case as Go prints them."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
