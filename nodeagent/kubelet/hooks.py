"""Lifecycle hooks: what a container asks to be done right after its start and before its end."""

from __future__ import annotations

import asyncio

import aiohttp

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.kubelet import commands, names
from nodeagent.kubelet.errors import HookError
from shim.api.gotext import go_quoted
from shim.api.meta import Object


async def run_hook(
    engine: Engine, http: aiohttp.ClientSession, pod: Object, container: Object, run: str, handler: Object, ip: str
) -> None:
    """Do what the handler says, however long it takes. Raises HookError, in upstream's words.

    A server only has to answer, whatever its status.
    """
    of = f'for Container "{container["name"]}" in Pod "{names.pod_text(pod)}" failed - error:'
    if told := handler.get("exec"):
        argv = told.get("command") or ()
        command = " ".join(argv)
        try:
            code, output, complaints = await commands.outcome(engine, run, argv, None)
        except EngineError as error:
            raise HookError(f'Exec lifecycle hook ([{command}]) {of} {error}, message: ""') from error
        if code:
            why = f"command '{command}' exited with {code}: {complaints}"
            said = go_quoted(output + complaints)
            raise HookError(f"Exec lifecycle hook ([{command}]) {of} {why}, message: {said}")
    elif told := handler.get("httpGet"):
        try:
            url = commands.url_of(told, container, ip)
            await commands.http_get(http, url, told, None, who="kube-lifecycle")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = str(error) if isinstance(error, ValueError) else commands.get_failed(url, error)
            raise HookError(f"HTTP lifecycle hook ({told.get('path') or ''}) {of} {why}") from error
    elif told := handler.get("sleep"):
        await asyncio.sleep(float(told.get("seconds") or 0))
    else:
        raise HookError(f"invalid handler: {', '.join(handler) or 'nothing'}")
