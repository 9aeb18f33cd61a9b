"""One check of one container: http, tcp, gRPC or a command. Its answer, in the words of the event that tells of it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import aiohttp

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.kubelet import commands
from nodeagent.kubelet.probes import grpc
from shim.api.gotext import go_quoted
from shim.api.meta import Object


@dataclass(frozen=True, slots=True)
class Outcome:
    """``error``: the check itself could not be made; nothing is known then."""

    result: Literal["success", "failure", "error"]
    output: str = ""
    refused: bool = False  # nobody listens on the port (yet): the container has noticed nothing
    doubt: str = ""  # why a success is one that its author may not have meant


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
    if told := probe.get("grpc"):
        return await _grpc(ip, int(told["port"]), told.get("service") or "", timeout)
    return Outcome("error", "missing probe handler")


async def _command(engine: Engine, run: str, argv: Sequence[str], timeout: float) -> Outcome:
    try:
        code, output = await commands.run(engine, run, argv, timeout)
    except commands.CommandTimeout:
        return Outcome("failure", f"command timed out: {go_quoted(' '.join(argv))} timed out after {timeout:g}s")
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
    except (aiohttp.ClientError, OSError) as error:
        refused = isinstance(error, aiohttp.ClientConnectorError) and _refused(error.os_error)
        return Outcome("failure", commands.get_failed(url, error), refused=refused)
    if 300 <= answer.status < 400:
        return Outcome("success", doubt=f"Probe terminated redirects, Response body: {answer.body}")
    if 200 <= answer.status < 300:
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
        return Outcome("failure", f"dial tcp {host}:{port}: connect: {commands.reason(error)}", refused=_refused(error))
    return SUCCESS


async def _grpc(ip: str, port: int, service: str, timeout: float) -> Outcome:
    """Any failure is the container's: servers are told apart from their absence by the message alone."""
    address = f"{ip}:{port}"
    over = asyncio.get_running_loop().time() + timeout
    try:
        async with asyncio.timeout_at(over):
            reader, writer = await asyncio.open_connection(ip, port)
    except (TimeoutError, OSError) as error:
        # a gRPC client goes on trying to connect until its time is over
        refused = isinstance(error, OSError) and _refused(error)
        said = f'timeout: failed to connect service "{address}" within {timeout:g}s: context deadline exceeded'
        return Outcome("failure", said, refused=refused)
    try:
        async with asyncio.timeout_at(over):
            status = await grpc.ask(reader, writer, address, service)
    except TimeoutError:
        return Outcome("failure", f"timeout: health rpc did not complete within {timeout:g}s")
    except OSError as error:
        return Outcome("failure", f"error: health rpc probe failed: {error}")
    except grpc.CallFailed as error:
        if error.code == grpc.UNIMPLEMENTED:
            known = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return Outcome("failure", f"error: {known}: {error.message}")
        if error.code == grpc.DEADLINE_EXCEEDED:
            return Outcome("failure", f"timeout: health rpc did not complete within {timeout:g}s")
        return Outcome("failure", f"error: health rpc probe failed: {error}")
    finally:
        writer.close()
    if status is not grpc.Serving.SERVING:
        return Outcome("failure", f'service unhealthy (responded with "{status.name}")')
    return Outcome("success", "service healthy")


def _refused(error: OSError) -> bool:
    return error.errno == errno.ECONNREFUSED
