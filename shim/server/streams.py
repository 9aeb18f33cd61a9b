"""pods/log, exec, attach and portforward: passed on to the node that runs the pod, after the checks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from urllib.parse import quote, urlencode

from aiohttp import web

from shim.api import decoding
from shim.api.meta import Object
from shim.api.status import ApiError, FieldError, bad_request, invalid, not_found
from shim.server import sockets
from shim.server.backends import Backend, any_tls, ask, dial_error, node_backend, refused, tunnel
from shim.server.negotiation import rendering
from shim.server.options import boolean, integer
from shim.server.parts import Call

PROTOCOLS = "sec-websocket-protocol"
PASSED_ON = ("upgrade", "connection", "x-stream-protocol-version", "user-agent")  # and all of Sec-WebSocket-*
_LOG_OPTIONS = "io.k8s.api.core.v1.PodLogOptions"


def _pod(call: Call) -> Object:
    entry = call.parts.cache.get(call.key)
    if entry is None:
        raise not_found("", "pods", call.info.name)
    return entry.decode()


def container_of(pod: Object, asked: str) -> str:
    """The container meant: the asked one if the pod has it, or its only one. Raises 400 as upstream."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    every = [
        str(each["name"])
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for each in spec.get(kind) or ()
    ]
    if asked:
        if asked not in every:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(spec["containers"]) == 1:
        return str(spec["containers"][0]["name"])
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(every)}]")


def _node(call: Call, pod: Object) -> Backend:
    """Where the pod's kubelet listens. Raises ApiError when it has none."""
    name = pod["spec"].get("nodeName")
    if not name:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return node_backend(call.parts, name, missing="pods")


async def read_log(call: Call) -> web.StreamResponse:
    """GET pods/log."""
    rendering(call.http.headers.get("Accept") or "*/*")  # who takes plain text alone could not be told of a failure
    query = log_options(call)
    pod = _pod(call)
    container = container_of(pod, call.value("container"))
    if not pod["spec"].get("nodeName"):
        return web.Response(status=204)  # not scheduled: nothing was said yet
    path = f"/containerLogs/{_place(pod)}/{container}?{urlencode(query)}"
    backend = _node(call, pod)
    if boolean(call.query, "insecureSkipTLSVerifyBackend"):
        backend = replace(backend, tls=any_tls())
    try:
        answer = await ask(backend, "GET", path)
    except OSError as error:
        said = f'Get "https://{backend.authority}{path}": {dial_error(backend, error)}'
        raise ApiError(500, "", said) from error
    try:
        if answer.code != 200:
            raise refused(answer.code, await answer.text())
        response: web.StreamResponse
        if sockets.asked(call.http):
            response = sockets.LogSocket()
            await response.open(call.http, answer.writer.transport.abort)
        else:
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(call.http)
        async for piece in answer.pieces():
            await response.write(piece)
        await response.write_eof()
    finally:
        answer.writer.transport.abort()  # a reader that left: the node must not go on writing into a TLS shutdown
    return response


def log_options(call: Call) -> dict[str, str]:
    """What a client wants of a log, as the node is asked for it. Raises 400 and 422 as upstream for PodLogOptions."""
    query = call.query
    numbers = {name: integer(query, name) for name in ("sinceSeconds", "tailLines", "limitBytes")}
    causes = []
    for name, least, text in (
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
    ):
        value = numbers[name]
        if value is not None and value < least:
            causes.append(FieldError("FieldValueInvalid", name, f"Invalid value: {value}: {text}"))
    since, moment = numbers["sinceSeconds"], call.value("sinceTime")
    if moment and (problem := decoding.decode(call.parts.schema.named(_LOG_OPTIONS), {"sinceTime": moment}).error):
        raise bad_request(problem)
    if since is not None and moment:
        text = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(FieldError("FieldValueForbidden", "[]", text))  # of no field: so Go writes a path of no name
    elif since is not None and since < 1:
        text = f"Invalid value: {since}: must be greater than 0"
        causes.append(FieldError("FieldValueInvalid", "sinceSeconds", text))
    if "stream" in query:  # PodLogsQuerySplitStreams is off in v1.36
        causes.append(FieldError("FieldValueForbidden", "stream", "Forbidden: may not be specified"))
    if causes:
        raise invalid("", "PodLogOptions", call.info.name, causes)
    asked = {name: "true" for name in ("follow", "previous", "timestamps") if boolean(query, name)}
    asked |= {name: str(value) for name, value in numbers.items() if value is not None}
    return asked | ({"sinceTime": moment} if moment else {})


def _stream(verb: str) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handler(call: Call) -> web.StreamResponse:
        pod = _pod(call)
        container = container_of(pod, call.value("container"))
        backend = _node(call, pod)
        _need_upgrade(call)
        names = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
        query = [(kubelet, "1") for name, kubelet in names.items() if call.value(name).lower() in ("1", "true")]
        if not any(name != "tty" for name, _ in query):
            raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
        commands = call.query.get("command") or []
        if verb == "exec" and not commands:
            raise bad_request("you must specify at least 1 command for the container")
        query += [("command", text) for text in commands]
        return await _tunnel(call, backend, f"/{verb}/{_place(pod)}/{container}?{urlencode(query)}")

    return handler


async def port_forward(call: Call) -> web.StreamResponse:
    """GET or POST pods/portforward."""
    ports = _ports(call.query.get("ports") or ())
    pod = _pod(call)
    backend = _node(call, pod)
    _need_upgrade(call)
    query = "?" + urlencode({"port": ",".join(ports)}) if ports else ""
    return await _tunnel(call, backend, f"/portForward/{_place(pod)}{query}")


def _ports(values: Iterable[str]) -> list[str]:
    """The numbers of the query's ``ports``, which only clients without SPDY send. Raises 400 in Go's words."""
    ports = [text for value in values for text in value.split(",")]
    for text in ports:
        if not (text.isascii() and text.isdigit()):
            why = "invalid syntax"
        elif int(text) >= 1 << 16:
            why = "value out of range"
        else:
            continue
        raise bad_request(f"cannot convert to []int32: strconv.ParseUint: parsing {json.dumps(text)}: {why}")
    return ports


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


async def _tunnel(call: Call, backend: Backend, path: str) -> web.StreamResponse:
    passed_on = [
        (name, value)
        for name, value in call.http.headers.items()
        if name.lower() in PASSED_ON or (name.lower().startswith("sec-websocket-") and name.lower() != PROTOCOLS)
    ]
    if names := sockets.offered(call.http.headers):
        passed_on.append((PROTOCOLS, ", ".join(names)))  # not the client's token
    return await tunnel(call.http, backend, path, passed_on)
