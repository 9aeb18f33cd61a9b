"""pods/binding: the scheduler's word that a pod runs on a node. Said once per pod."""

from __future__ import annotations

import orjson
from aiohttp import web

from shim.api.meta import Object
from shim.api.status import FieldError, bad_request, conflict, invalid
from shim.server import errors
from shim.server.bodies import read_body
from shim.server.object_metadata import match_namespace
from shim.server.options import WriteOptions
from shim.server.parts import Call
from shim.server.registry import Write
from shim.server.responses import respond
from shim.server.subresources.admit import admit_order
from shim.server.subresources.pod_conditions import set_pod_condition


async def bind(call: Call) -> web.Response:
    """POST .../pods/NAME/binding."""
    return await _bind(call, call.info.name)


async def bind_named(call: Call) -> web.Response:
    """POST .../bindings: the older path, the pod's name is the binding's."""
    return await _bind(call, "")


async def _bind(call: Call, name: str) -> web.Response:
    options = WriteOptions.of(call.query, "CreateOptions")
    body = await read_body(call)
    binding = body.decode(call, "Binding", "v1", options)
    await admit_order(call, binding, options)
    metadata, target = binding["metadata"], binding.get("target") or {}
    match_namespace(metadata, call.info.namespace)
    if name and metadata.get("name") != name:
        raise bad_request("name in URL does not match name in Binding object")
    name = name or metadata.get("name") or ""
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        text = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(FieldError("FieldValueNotSupported", "target.kind", text))
    if not target.get("name"):
        causes.append(FieldError("FieldValueRequired", "target.name", "Required value"))
    if causes:
        raise invalid("", "Binding", name, causes)
    pods = call.parts.routes.get("", "v1", "pods")
    assert pods is not None
    write = Write(pods, call.info.namespace, name, call.user, "binding", options.dry_run, admitted=True)

    def assign(pod: Object) -> Object:
        _check(pod, binding, target["name"])
        pod["spec"]["nodeName"] = target["name"]
        pod["metadata"].setdefault("annotations", {}).update(metadata.get("annotations") or {})
        pod["metadata"].setdefault("labels", {}).update(metadata.get("labels") or {})
        for part in ("annotations", "labels"):
            if not pod["metadata"][part]:
                del pod["metadata"][part]
        set_pod_condition(pod, "PodScheduled", "True")
        pod["status"].pop("nominatedNodeName", None)  # the wait for room is over
        return pod

    await call.parts.registry.update(write, assign, prepare=lambda new, old: None, validate=lambda new, old: [])
    return respond(orjson.dumps(errors.success(code=201)), 201, warnings=call.warnings)


def _check(pod: Object, binding: Object, node: str) -> None:
    metadata = pod["metadata"]
    name = metadata["name"]
    uid = binding["metadata"].get("uid")
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise conflict("", "pods/binding", name, why)
    if metadata.get("deletionTimestamp"):
        raise conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if assigned := pod["spec"].get("nodeName"):
        raise conflict("", "pods/binding", name, f'pod {name} is already assigned to node "{assigned}"')
    if pod["spec"].get("schedulingGates"):
        raise conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
