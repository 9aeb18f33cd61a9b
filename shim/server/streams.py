"""pods/log, exec, attach and portforward: passed on to the node that runs the pod, after the checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode

from aiohttp import web

from shim.api.meta import Object
from shim.api.status import ApiError, bad_request, not_found
from shim.server.backends import Backend, ask, dial_error, node_backend, refused, tunnel
from shim.server.parts import Call

PASSED_ON = ("upgrade", "connection", "x-stream-protocol-version", "user-agent")  # and all of Sec-WebSocket-*
LOG_QUERY = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream")


def _pod(call: Call) -> Object:
    entry = call.parts.cache.get(call.key)
    if entry is None:
        raise not_found("", "pods", call.info.name)
    return entry.decode()


def container_of(pod: Object, asked: str) -> str:
    """The container meant: the asked one if the pod has it, or its only one. Raises 400 as upstream."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    normal = [each["name"] for each in spec.get("containers") or ()]
    initial = [each["name"] for each in spec.get("initContainers") or ()]
    temporary = [each["name"] for each in spec.get("ephemeralContainers") or ()]
    if asked:
        if asked not in (*normal, *initial, *temporary):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(normal) == 1 and not temporary:
        return str(normal[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(normal)}]"
    if initial:
        text += f" or one of the init containers: [{' '.join(initial)}]"
    if temporary:
        text += f" or one of the ephemeral containers: [{' '.join(temporary)}]"
    raise bad_request(text)


def _node(call: Call, pod: Object) -> Backend:
    """Where the pod's kubelet listens. Raises ApiError when it has none."""
    name = pod["spec"].get("nodeName")
    if not name:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return node_backend(call, name)


async def read_log(call: Call) -> web.StreamResponse:
    """GET pods/log."""
    pod = _pod(call)
    asked = call.value("container") or _default_container(pod)
    container = container_of(pod, asked)
    query = {name: call.value(name) for name in LOG_QUERY if call.value(name)}
    if not pod["spec"].get("nodeName"):
        return web.Response(body=b"", content_type="text/plain")  # not scheduled: nothing was said yet
    path = f"/containerLogs/{_place(pod)}/{container}?{urlencode(query)}"
    backend = _node(call, pod)
    try:
        answer = await ask(backend, "GET", path)
    except OSError as error:
        said = f'Get "https://{backend.authority}{path}": {dial_error(backend, error)}'
        raise ApiError(500, "", said) from error
    try:
        if answer.code != 200:
            raise refused(answer.code, await answer.text())
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(call.http)
        async for piece in answer.pieces():
            await response.write(piece)
    finally:
        answer.writer.transport.abort()  # a reader that left: the node must not go on writing into a TLS shutdown
    return response


def _default_container(pod: Object) -> str:
    return str((pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container") or "")


def _stream(verb: str) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handler(call: Call) -> web.StreamResponse:
        _need_upgrade(call)
        pod = _pod(call)
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            state = pod["status"]["phase"]
            raise bad_request(f"cannot {verb} into a container in a completed pod; current phase is {state}")
        container = container_of(pod, call.value("container") or _default_container(pod))
        names = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
        query = [(kubelet, "1") for name, kubelet in names.items() if call.value(name).lower() in ("1", "true")]
        if not any(name != "tty" for name, _ in query):
            raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
        commands = call.query.get("command") or []
        if verb == "exec" and not commands:
            raise bad_request("you must specify at least 1 command for the container")
        query += [("command", text) for text in commands]
        return await _tunnel(call, pod, f"/{verb}/{_place(pod)}/{container}?{urlencode(query)}")

    return handler


async def port_forward(call: Call) -> web.StreamResponse:
    """GET or POST pods/portforward."""
    _need_upgrade(call)
    pod = _pod(call)
    return await _tunnel(call, pod, f"/portForward/{_place(pod)}")


exec_ = _stream("exec")
attach = _stream("attach")

STREAMS: dict[tuple[str, str], Callable[[Call], Awaitable[web.StreamResponse]]] = {
    ("pods", "log"): read_log,
    ("pods", "exec"): exec_,
    ("pods", "attach"): attach,
    ("pods", "portforward"): port_forward,
}
"""Subresources that are answered by a node, by resource and name."""


def _need_upgrade(call: Call) -> None:
    if not call.http.headers.get("Upgrade"):
        raise bad_request("Upgrade request required")


def _place(pod: Object) -> str:
    return f"{quote(pod['metadata']['namespace'])}/{quote(pod['metadata']['name'])}"


async def _tunnel(call: Call, pod: Object, path: str) -> web.StreamResponse:
    passed_on = [
        (name, value)
        for name, value in call.http.headers.items()
        if name.lower() in PASSED_ON or name.lower().startswith("sec-websocket-")
    ]
    return await tunnel(call, _node(call, pod), path, passed_on)
