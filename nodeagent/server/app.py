"""The kubelet's HTTP API on 10250: logs, exec, attach, port-forward, pods, metrics; for holders of certificates."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import time
from collections.abc import Iterable

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import generate_latest
from prometheus_client.core import Metric

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.kubelet import commands, names
from nodeagent.kubelet.source import NotFound, NotReady, PodSource
from nodeagent.server import cadvisor, metrics, portchannels, portforward, resource_metrics
from nodeagent.server.access import Access
from nodeagent.server.counting import counting
from nodeagent.server.logs import Invalid, LogOptions, Unreadable, read_log
from nodeagent.server.nodelogs import NodeLogs
from nodeagent.server.remotecommand import attached_status, serve_process
from nodeagent.settings import NodeAgentSettings
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import Client
from shim.codec import zpages
from shim.codec.exposition import text_of_families

log = logging.getLogger(__name__)

READ_ONLY = frozenset(
    {
        *("/healthz", "/healthz/{check}", "/pods", "/pods/", "/stats/summary"),
        *("/metrics", "/metrics/resource", "/metrics/cadvisor", "/metrics/probes", "/metrics/slis"),
    }
)
"""What the port shows that asks nobody who they are: nothing that could change or enter a pod."""
LISTED = ("/configz", "/debug", "/flagz", "/healthz", "/metrics")
"""By ``/statusz``: what tells of the kubelet itself."""
CHECKS = ("ping", "log", "syncloop")  # of health: who answers at all has a loop that turns


class KubeletApi:
    """The handlers, on one node's pods."""

    def __init__(self, source: PodSource, engine: Engine, settings: NodeAgentSettings) -> None:
        self._source, self._engine, self._node_logs = source, engine, NodeLogs()
        self._began, self._flags = int(time.time()), zpages.shown(settings)

    def routes(self) -> list[web.RouteDef]:
        """The table of paths, as a real kubelet's."""
        targets = ("/{namespace}/{pod}/{container}", "/{namespace}/{pod}/{uid}/{container}")
        pods = ("/{namespace}/{pod}", "/{namespace}/{pod}/{uid}")
        return [
            web.get("/healthz", self._healthz),
            web.get("/healthz/{check}", self._healthz),
            *(web.get(path, self._pods) for path in ("/pods", "/pods/")),
            *(web.get(path, self._running_pods) for path in ("/runningpods", "/runningpods/")),
            web.get("/metrics", self._metrics),
            web.get("/metrics/slis", self._slis),
            web.get("/metrics/resource", self._resource_metrics),
            web.get("/metrics/cadvisor", self._cadvisor),
            web.get("/metrics/probes", self._probes),
            web.get("/stats/summary", self._summary),
            web.get("/configz", self._configz),
            web.get("/statusz", self._statusz),
            web.get("/flagz", self._flagz),
            web.route("*", "/debug/pprof/{path:.*}", _disabled("profiling")),
            web.route("*", "/debug/flags/v", _disabled("flags")),
            web.get("/logs/{path:.*}", self._node_logs.serve),
            web.get("/containerLogs" + targets[0], self._logs),
            web.post("/checkpoint" + targets[0], self._checkpoint),
            *(web.post("/run" + target, self._run) for target in targets),
            *_both("/exec", targets, self._exec),
            *_both("/attach", targets, self._attach),
            *_both("/portForward", pods, self._port_forward),
        ]

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        if request.match_info.get("check", CHECKS[0]) not in CHECKS:
            raise web.HTTPNotFound
        if "check" in request.match_info or "verbose" not in request.query:
            return web.Response(text="ok")
        excluded = request.query.getall("exclude", [])
        lines = [f"[+]{check} {'excluded: ok' if check in excluded else 'ok'}\n" for check in CHECKS]
        return web.Response(text="".join([*lines, "healthz check passed\n"]))

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        return _json(_list(self._source.pods()))

    async def _running_pods(self, request: web.Request) -> web.StreamResponse:
        return _json(_list(self._source.running_pods()))

    async def _slis(self, request: web.Request) -> web.StreamResponse:
        return _measured(metrics.health(CHECKS))

    async def _resource_metrics(self, request: web.Request) -> web.StreamResponse:
        readings = await resource_metrics.read(self._engine, self._source.pods())
        return web.Response(
            body=resource_metrics.render(readings), headers={"Content-Type": resource_metrics.CONTENT_TYPE}
        )

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        read = metrics.kubelet(self._source, await self._source.summary())
        kept = generate_latest(self._source.meters.registry)
        return web.Response(body=text_of_families(read) + kept, headers={"Content-Type": resource_metrics.CONTENT_TYPE})

    async def _cadvisor(self, request: web.Request) -> web.StreamResponse:
        pods = self._source.pods()
        readings = await resource_metrics.read(self._engine, pods)
        return _measured(cadvisor.cadvisor(pods, await self._source.summary(), readings.containers))

    async def _probes(self, request: web.Request) -> web.StreamResponse:
        return _measured(metrics.probes(self._source.probes()))

    async def _summary(self, request: web.Request) -> web.StreamResponse:
        only = request.query.get("only_cpu_and_memory", "").lower() in ("1", "true")
        return _json(await self._source.summary(only_cpu_and_memory=only))

    async def _configz(self, request: web.Request) -> web.StreamResponse:
        return _json({"kubeletconfig": self._source.settings()})

    async def _statusz(self, request: web.Request) -> web.StreamResponse:
        return _page(zpages.status("kubelet", self._began, LISTED, request.headers.get("Accept", "")))

    async def _flagz(self, request: web.Request) -> web.StreamResponse:
        return _page(zpages.flags("kubelet", self._flags, request.headers.get("Accept", "")))

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, container = _target(request)
        try:
            options = LogOptions.of(request.query)
        except Unreadable:
            return web.Response(status=400, text='{"message": "Unable to decode query."}')
        except Invalid:
            return web.Response(status=422, text='{"message": "Invalid request."}')
        previous = request.query.get("previous", "").lower() in ("1", "true")
        path = self._source.log(namespace, pod, container, previous=previous)

        def running() -> bool:
            try:
                target = self._source.container(namespace, pod, container)
            except NotFound:
                return False
            return not previous and target.running and target.log_path == path

        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, FileNotFoundError):
            async for piece in read_log(path, options, running):
                await response.write(piece)
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        target = self._source.container(*_target(request))
        command = request.query.getall("command", [])
        if not command:
            return web.Response(status=400, text="you must specify at least 1 command for the container")
        if not target.running:
            raise NotReady("container not found (" + repr(_target(request)[2]).replace("'", '"') + ")")
        tty, stdin = (request.query.get(name, "").lower() in ("1", "true") for name in ("tty", "input"))
        return await serve_process(
            request, lambda size: self._engine.exec(target.container, command, tty=tty, stdin=stdin, size=size)
        )

    async def _run(self, request: web.Request) -> web.StreamResponse:
        """A command without streams: its output is the answer."""
        target, argv = self._source.container(*_target(request)), request.query.get("cmd", "").split(" ")
        try:
            code, output = await commands.run(self._engine, target.container, argv, None)
        except EngineError as error:
            return web.Response(status=500, text=str(error))
        if code:
            return web.Response(status=500, text=f"command '{' '.join(argv)}' exited with {code}: {output}")
        return web.Response(text=output, content_type="application/json")

    async def _checkpoint(self, request: web.Request) -> web.StreamResponse:
        """Refused by name, once it is clear what would be: there is nothing here that could save a process."""
        namespace, pod, container = _target(request)
        try:
            found = self._source.pod(namespace, pod)
        except NotFound:
            raise NotFound("pod does not exist") from None
        if names.find_container(found, container) is None:
            raise NotFound(f"container {container} does not exist")
        if (times := request.query.getall("timeout", [])) and not re.fullmatch(r"[+-]?\d+", times[-1]):
            raise NotFound("cannot parse value of timeout parameter")
        why = "rpc error: code = Unimplemented desc = containers cannot be saved to files"
        return web.Response(status=500, text=f"checkpointing of {namespace}/{pod}/{container} failed ({why})")

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        target = self._source.container(*_target(request))
        if not target.running:
            raise NotReady(f"container {_target(request)[2]} not running")
        return await serve_process(request, lambda size: self._engine.attach(target.container), attached_status)

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._source.sandbox(request.match_info["namespace"], request.match_info["pod"])
        netns = await self._engine.netns_of(sandbox)
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        if not portforward.in_websocket(request) or portforward.TUNNEL in offered:
            return await portforward.serve(request, netns)
        try:
            ports = portchannels.asked_ports(request.query.getall("port", []))
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return await portchannels.serve(request, netns, ports)


def _both(path: str, ends: Iterable[str], handler: Handler) -> list[web.RouteDef]:
    """Streams begin with either method, by the client's protocol."""
    return [route(path + end, handler) for end in ends for route in (web.get, web.post)]


def _list(pods: list[Object]) -> Object:
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}


def _json(body: Object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _page(page: zpages.Page | None) -> web.Response:
    if page is None:
        refused = ApiError(406, "NotAcceptable", f"only the following media types are accepted: {zpages.ACCEPTED}")
        return web.Response(status=406, body=orjson.dumps(refused.status()), content_type="application/json")
    warning = {"Warning": f'299 - "{page.warning}"'} if page.warning else {}
    return web.Response(body=page.body, headers={"Content-Type": page.media, **warning})


def _disabled(what: str) -> Handler:
    """For what a kubelet has and may be told not to, as this one always is."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        headers = {"X-Content-Type-Options": "nosniff"}
        return web.Response(status=405, text=f"{what} endpoint is disabled.\n", headers=headers)

    return refuse


def _measured(read: Iterable[Metric]) -> web.Response:
    return web.Response(body=text_of_families(read), headers={"Content-Type": resource_metrics.CONTENT_TYPE})


def _target(request: web.Request) -> tuple[str, str, str]:
    info = request.match_info
    return info["namespace"], info["pod"], info["container"]


@web.middleware
async def _said_plainly(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Domain errors become plain text with a status, as a kubelet's."""
    try:
        return await handler(request)
    except NotFound as error:
        return web.Response(status=404, text=str(error))
    except NotReady as error:
        return web.Response(status=400, text=str(error))
    except web.HTTPNotFound:
        return web.Response(status=404, text="404 page not found\n", headers={"X-Content-Type-Options": "nosniff"})


async def serve(settings: NodeAgentSettings, source: PodSource, engine: Engine, client: Client) -> None:
    """Serve on the node's address until cancelled; ``client`` asks who may."""
    api = KubeletApi(source, engine, settings)
    access = Access(client, settings.node_name)
    app = web.Application(middlewares=[counting(source.meters, "readwrite"), access.check, _said_plainly])
    app.add_routes(api.routes())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(settings.client_ca))
    tls.verify_mode = ssl.CERT_OPTIONAL  # others have tokens
    tls.load_cert_chain(settings.tls_cert, settings.tls_key)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.node_ip, settings.port, ssl_context=tls, reuse_address=True).start()
        log.info("serving the kubelet API on %s:%d", settings.node_ip, settings.port)
        if settings.read_only_port:
            open_to_all = web.Application(middlewares=[counting(source.meters, "readonly"), _said_plainly])
            open_to_all.add_routes([route for route in api.routes() if route.path in READ_ONLY])
            unchecked = web.AppRunner(open_to_all, access_log=None, shutdown_timeout=1.0)
            await unchecked.setup()
            try:
                await web.TCPSite(unchecked, settings.node_ip, settings.read_only_port, reuse_address=True).start()
                await asyncio.get_running_loop().create_future()
            finally:
                await unchecked.cleanup()
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        await runner.cleanup()
