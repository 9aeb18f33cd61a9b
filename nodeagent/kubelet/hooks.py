"""Lifecycle hooks: what a container asks to be done right after its start and before its end."""

from __future__ import annotations

import asyncio
import shlex

import aiohttp

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.kubelet import commands
from nodeagent.kubelet.errors import HookError
from shim.api.meta import Object


async def run_hook(
    engine: Engine, http: aiohttp.ClientSession, container: Object, run: str, handler: Object, ip: str
) -> None:
    """Do what the handler says, however long it takes. Raises HookError."""
    if told := handler.get("exec"):
        try:
            code, output = await commands.run(engine, run, told.get("command") or (), None)
        except EngineError as error:
            raise HookError(str(error)) from error
        if code:
            command = shlex.join(told.get("command") or ())
            raise HookError(f"command '{command}' exited with {code}: {output}")
    elif told := handler.get("httpGet"):
        try:
            answer = await commands.http_get(http, commands.url_of(told, container, ip), told, None)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HookError(str(error)) from error
        if answer.status >= 400:
            raise HookError(f"HTTP hook failed with status code: {answer.status}")
    elif told := handler.get("sleep"):
        await asyncio.sleep(float(told.get("seconds") or 0))
    else:
        raise HookError(f"invalid handler: {', '.join(handler) or 'nothing'}")
