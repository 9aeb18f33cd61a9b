"""pods/proxy, services/proxy and nodes/proxy: the API server as a way to servers inside the cluster.

The name in the path is ``name``, ``name:port`` or ``scheme:name:port``. Where that leads is decided here; the request
is then passed on by :mod:`shim.server.proxying`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from aiohttp import web

from shim.api.meta import Object
from shim.api.status import bad_request, not_found, service_unavailable
from shim.server import errors
from shim.server.backends import Backend, any_tls, is_global_unicast, node_backend
from shim.server.parts import Call
from shim.server.paths import join
from shim.server.proxying import forward

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def split(id: str) -> tuple[str, str, str] | None:
    """Scheme, name and port of what the path names; None when it cannot be read."""
    parts = id.split(":")
    if len(parts) > 3:
        return None
    scheme = parts.pop(0) if len(parts) == 3 else ""
    name, port = parts if len(parts) == 2 else (parts[0], "")
    return (scheme, name, port) if name and scheme in ("", "http", "https") else None


Locate = Callable[[Call, str, str, str], Backend]
"""From scheme, name and port to where that is. Raises ApiError."""


def _pod(call: Call, scheme: str, name: str, port: str) -> Backend:
    """The pod's own address; its first declared port when none is named."""
    pod = _stored(call, "pods", name)
    if pod is None:
        raise not_found("", "pods", name)
    if not port:
        containers = pod["spec"].get("containers") or ()
        declared = [each["ports"][0]["containerPort"] for each in containers if each.get("ports")]
        port = str(declared[0]) if declared else ""
    address = (pod.get("status") or {}).get("podIP", "")
    if not is_global_unicast(address):
        raise bad_request("address not allowed")
    return _backend(scheme, address, port)


def _service(call: Call, scheme: str, name: str, port: str) -> Backend:
    """Any pod behind the Service; the port by its name there, or by its number."""
    if port.isascii() and port.isdigit():
        service = _stored(call, "services", name)
        if service is None:
            raise not_found("", "services", name)
        names = [each.get("name", "") for each in service["spec"].get("ports") or () if each["port"] == int(port)]
        if not names:
            raise service_unavailable(f'no service port {int(port)} found for service "{name}"')
        port = names[0]
    endpoints = _stored(call, "endpoints", name)
    if endpoints is None:
        raise not_found("", "services", name)  # as upstream, which names what the path names
    subsets = endpoints.get("subsets") or []
    if not subsets:
        raise service_unavailable(f'no endpoints available for service "{name}"')
    places = [
        (address["ip"], each["port"])
        for subset in subsets
        for each in subset.get("ports") or ()
        if each.get("name", "") == port
        for address in subset.get("addresses") or ()
        if _is_pod(call, address)
    ]
    if not places:
        raise service_unavailable(f'no endpoints available for service "{call.info.name}"')
    return _backend(scheme, *random.choice(places))


def _node(call: Call, scheme: str, name: str, port: str) -> Backend:
    """The node's kubelet, or another port of the node."""
    kubelet = node_backend(call.parts, name)
    if not is_global_unicast(kubelet.host):
        raise bad_request("address not allowed")
    if port in ("", str(kubelet.port)):
        return kubelet
    return _backend(scheme, kubelet.host, port)


def _backend(scheme: str, host: str, port: str | int) -> Backend:
    tls = any_tls() if scheme == "https" else None
    try:
        return Backend(host, int(port or (443 if tls else 80)), tls)
    except ValueError:
        said = f"error trying to reach service: dial tcp: lookup tcp/{port}: unknown port"
        raise service_unavailable(said) from None


def _is_pod(call: Call, address: Object) -> bool:
    """Only pods are reached this way: endpoints may be written by hand, and the server stands in other networks."""
    target = address.get("targetRef") or {}
    if target.get("namespace") != call.info.namespace:
        return False
    pod = _stored(call, "pods", target.get("name", ""))
    return pod is not None and address["ip"] in {each["ip"] for each in (pod.get("status") or {}).get("podIPs") or ()}


def _stored(call: Call, resource: str, name: str) -> Object | None:
    row = call.parts.routes.get("", "v1", resource)
    assert row is not None
    entry = call.parts.cache.get(row.key(call.info.namespace, name))
    return entry.decode() if entry is not None else None


def _proxy(what: str, locate: Locate) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handler(call: Call) -> web.StreamResponse:
        if call.http.method not in METHODS:
            raise errors.method_not_allowed()
        parts = split(call.info.name)
        if parts is None:
            raise bad_request(f'invalid {what} request "{call.info.name}"')
        return await forward(call, locate(call, *parts), join("", call.info.rest))

    return handler


PROXIES = {
    ("pods", "proxy"): _proxy("pod", _pod),
    ("services", "proxy"): _proxy("service", _service),
    ("nodes", "proxy"): _proxy("node", _node),
}
"""By resource and subresource."""
