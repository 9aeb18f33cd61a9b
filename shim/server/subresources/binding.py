"""pods/binding: the scheduler's word that a pod runs on a node. Said once per pod."""

from __future__ import annotations

import orjson
from aiohttp import web

from shim.admission.request import together
from shim.api.meta import Object
from shim.api.status import ApiError, bad_request, conflict
from shim.server import errors
from shim.server.bodies import read_body
from shim.server.intent import Write
from shim.server.object_metadata import check_key_name, match_namespace
from shim.server.options import WriteOptions
from shim.server.parts import Call
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
    uid = metadata.get("uid") or "" if name else ""  # the older path takes it for the binding's own
    name = name or check_key_name(metadata.get("name") or "")
    wrong = []
    if target.get("kind") not in (None, "", "Node"):
        wrong.append(f'target.kind: Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"')
    if not target.get("name"):
        wrong.append("target.name: Required value")
    if wrong:  # upstream lets the complaints pass for an error of its own
        raise ApiError(500, "", together(wrong))
    pods = call.parts.routes.get("", "v1", "pods")
    assert pods is not None
    write = Write(pods, call.info.namespace, name, call.user, "binding", options.dry_run, uid, admitted=True)
    write.revision = metadata.get("resourceVersion") or ""

    def assign(pod: Object) -> Object:
        _check(pod)
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


def _check(pod: Object) -> None:
    metadata = pod["metadata"]
    name = metadata["name"]
    if metadata.get("deletionTimestamp"):
        raise conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if assigned := pod["spec"].get("nodeName"):
        raise conflict("", "pods/binding", name, f'pod {name} is already assigned to node "{assigned}"')
    if pod["spec"].get("schedulingGates"):
        raise conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
