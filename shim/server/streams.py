"""pods/log, exec, attach and portforward: passed on to the node that runs the pod.

After its checks the API server only carries bytes: whatever protocol client and node agree on (WebSocket, SPDY)
crosses it untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from shim.api.meta import Object
from shim.api.status import ApiError, bad_request, internal, not_found
from shim.codec.upgrade import Upgraded, switch
from shim.server.parts import Call

CHUNK = 1 << 16
DIAL_TIMEOUT = 30.0  # seconds; a node that does not answer by then is given up, as upstream
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


def _node(call: Call, pod: Object) -> tuple[str, int]:
    """Where the pod's kubelet listens. Raises ApiError when it has none."""
    name = pod["spec"].get("nodeName")
    if not name:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    nodes = call.parts.routes.get("", "v1", "nodes")
    assert nodes is not None
    entry = call.parts.cache.get(nodes.key(None, name))
    if entry is None:
        raise not_found("", "nodes", name)
    status = entry.decode().get("status") or {}
    by_type = {each["type"]: each["address"] for each in status.get("addresses") or ()}
    address = by_type.get("InternalIP") or by_type.get("Hostname")
    if not address:
        raise internal(f"node {name} has no address")
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port") or 10250
    return str(address), int(port)


async def read_log(call: Call) -> web.StreamResponse:
    """GET pods/log."""
    pod = _pod(call)
    asked = call.value("container") or _default_container(pod)
    container = container_of(pod, asked)
    query = {name: call.value(name) for name in LOG_QUERY if call.value(name)}
    if not pod["spec"].get("nodeName"):
        return web.Response(body=b"", content_type="text/plain")  # not scheduled: nothing was said yet
    path = f"/containerLogs/{_place(pod)}/{container}?{urlencode(query)}"
    reader, writer, (code, headers) = await _ask(call, pod, "GET", path)
    try:
        if code != 200:
            raise _refused(code, (await _body(reader, headers)).decode(errors="replace"))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(call.http)
        async for piece in _pieces(reader, headers):
            await response.write(piece)
    finally:
        writer.transport.abort()  # a reader that left: the node must not go on writing into a TLS shutdown
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

CONNECT: dict[tuple[str, str], Callable[[Call], Awaitable[web.StreamResponse]]] = {
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
    """Pass the upgrade on to the node, and every byte after it."""
    extra = {
        name: value
        for name, value in call.http.headers.items()
        if name.lower() in PASSED_ON or name.lower().startswith("sec-websocket-")
    }
    reader, writer, (code, headers) = await _ask(call, pod, call.http.method, path, extra)
    if code != 101:
        text = (await _body(reader, headers)).decode(errors="replace")
        writer.close()
        raise _refused(code, text)
    client = switch(call.http, headers)

    async def up() -> None:
        with contextlib.suppress(ConnectionError):
            while data := await client.read():
                writer.write(data)
                await writer.drain()
        writer.close()

    async def down() -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(CHUNK):
                client.write(data)
                await client.drain()
        client.close()

    await asyncio.gather(up(), down())
    return Upgraded()


async def _ask(
    call: Call, pod: Object, method: str, path: str, extra: dict[str, str] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, tuple[int, dict[str, str]]]:
    """Send one request to the pod's node and read the head of its answer."""
    host, port = _node(call, pod)
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(host, port, ssl=node_tls(call.parts.settings), limit=1 << 20), DIAL_TIMEOUT
        )
    except (OSError, TimeoutError) as error:
        said = f"error dialing backend: dial tcp {host}:{port}: {getattr(error, 'strerror', None) or 'i/o timeout'}"
        raise ApiError(500, "", said) from error
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", *(f"{k}: {v}" for k, v in (extra or {}).items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        writer.close()
        raise ApiError(500, "", f"error dialing backend: {host}:{port} closed the connection") from error
    headers = {}
    for line in head[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return reader, writer, (int(head[0].split()[1]), headers)


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> Any:
    """A body in pieces, chunked or with a length."""
    lower = {name.lower(): value for name, value in headers.items()}
    if lower.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    elif length := int(lower.get("content-length") or 0):
        yield await reader.readexactly(length)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    return b"".join([piece async for piece in _pieces(reader, headers)])


def _refused(code: int, text: str) -> ApiError:
    """The node's plain words as a Status."""
    text = text.strip()
    if code == 400:
        return bad_request(text)
    if code == 404:
        return ApiError(404, "NotFound", f"the server could not find the requested resource ({text})")
    return ApiError(500, "InternalError", text or f"the node answered {code}")


_CONTEXTS: dict[str, ssl.SSLContext] = {}


def node_tls(settings: Any) -> ssl.SSLContext:
    """TLS towards kubelets: theirs is checked against the cluster's CA, ours is the kubelet-client certificate."""
    pki = settings.data_dir / "pki"
    if str(pki) not in _CONTEXTS:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "kubelet-client.crt", pki / "kubelet-client.key")
        _CONTEXTS[str(pki)] = context
    return _CONTEXTS[str(pki)]
