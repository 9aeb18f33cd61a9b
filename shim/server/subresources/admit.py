"""Admission of what is no write of an object: orders (a Binding, an Eviction), and connections (exec, proxy).

An order is the creation of a small object that nobody keeps; a connection is described by its options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shim.admission.chain import CONNECT, CREATE, Request
from shim.api.meta import Object
from shim.server.options import WriteOptions, boolean, first
from shim.server.parts import Call

_STREAMS = {"stdin": boolean, "stdout": boolean, "stderr": boolean, "tty": boolean, "container": first}
_PROXY = {"path": first}
_OPTIONS: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("pods", "exec"): ("PodExecOptions", _STREAMS),
    ("pods", "attach"): ("PodAttachOptions", _STREAMS),
    ("pods", "portforward"): ("PodPortForwardOptions", {}),
    ("pods", "proxy"): ("PodProxyOptions", _PROXY),
    ("services", "proxy"): ("ServiceProxyOptions", _PROXY),
    ("nodes", "proxy"): ("NodeProxyOptions", _PROXY),
}
"""The kind that describes a connection, and how its fields are read from the query."""


async def admit_order(call: Call, obj: Object, options: WriteOptions, check: Callable[[], None] = lambda: None) -> None:
    """Let admission see, and change, the object of a POST to a subresource. Raises ApiError.

    ``check`` looks at the object when it has changed, before it is judged.
    """
    request, chain = _request(call, CREATE, obj), call.parts.registry.chain
    request.dry_run, request.options = options.dry_run, options.wire("CreateOptions")
    await chain.mutate(request)
    check()
    await chain.validate(request)


async def admit_connection(call: Call) -> None:
    """Ask admission before bytes are carried. Raises ApiError."""
    described = _OPTIONS.get((call.resource.name, call.info.subresource))
    if described is None:
        return  # reading a log connects nobody
    kind, fields = described
    options: Object = {"kind": kind, "apiVersion": "v1"}
    for name, read in fields.items():
        if value := read(call.query, name):
            options[name] = value
    if call.info.subresource == "exec":
        options["command"] = list(call.query.get("command") or ())
    if call.info.subresource == "portforward" and (ports := call.query.get("ports")):
        options["ports"] = [int(port) for text in ports for port in text.split(",") if port.isdigit()]
    if "path" in fields and call.info.rest:
        options["path"] = call.info.rest
    await call.parts.registry.chain.admit(_request(call, CONNECT, options))


def _request(call: Call, operation: str, obj: Object) -> Request:
    info = call.info
    namespace = info.namespace if call.resource.namespaced else ""
    name = info.name or (obj.get("metadata") or {}).get("name") or ""
    return Request(
        operation,
        call.resource,
        namespace or None,
        name,
        call.user,
        obj,
        subresource=info.subresource,
        warnings=call.warnings,
        annotations=call.record.annotations if call.record is not None else {},
    )
