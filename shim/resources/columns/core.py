"""What is shown of the core group's smaller kinds, and of events."""

from __future__ import annotations

from shim.api import conditions
from shim.api.meta import Object
from shim.resources.columns.common import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    at,
    count,
    dig,
    doc,
    integer,
    number,
    since,
    text,
    wide,
)
from shim.resources.strategy import Column

NAMESPACES = (NAME, text("Status", "The status of the namespace", at("status.phase")), AGE)

CONFIG_MAPS = (
    NAME,
    text(
        "Data",
        doc("core.v1.ConfigMap", "data"),
        lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
    ),
    AGE,
)

SECRETS = (
    NAME,
    text("Type", doc("core.v1.Secret", "type"), at("type")),
    text("Data", doc("core.v1.Secret", "data"), count("data")),
    AGE,
)

_ROLE = "node-role.kubernetes.io/"


def _node_status(node: Object) -> str:
    ready = conditions.find(node, "Ready")
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if dig(node, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Object) -> str:
    found = node["metadata"].get("labels") or {}
    roles = {label.removeprefix(_ROLE) for label in found if label.startswith(_ROLE)}
    roles.add(found.get("kubernetes.io/role") or "")
    return ",".join(sorted(roles - {""})) or NONE


def _address(node: Object, kind: str) -> str:
    for address in dig(node, "status.addresses") or ():
        if address.get("type") == kind:
            return str(address["address"])
    return NONE


def _kernel(node: Object) -> str:
    version = dig(node, "status.nodeInfo.kernelVersion") or UNKNOWN
    architecture = dig(node, "status.nodeInfo.architecture")
    return f"{version} ({architecture})" if architecture else version


def _info(field: str) -> Column:
    names = {"osImage": "OS-Image", "containerRuntimeVersion": "Container-Runtime"}
    path = f"status.nodeInfo.{field}"
    return wide(names[field], doc("core.v1.NodeSystemInfo", field), lambda node: dig(node, path) or UNKNOWN)


NODES = (
    NAME,
    text("Status", "The status of the node", _node_status),
    text("Roles", "The roles of the node", _node_roles),
    AGE,
    text("Version", doc("core.v1.NodeSystemInfo", "kubeletVersion"), at("status.nodeInfo.kubeletVersion")),
    wide("Internal-IP", doc("core.v1.NodeStatus", "addresses"), lambda node: _address(node, "InternalIP")),
    wide("External-IP", doc("core.v1.NodeStatus", "addresses"), lambda node: _address(node, "ExternalIP")),
    _info("osImage"),
    wide("Kernel-Version", doc("core.v1.NodeSystemInfo", "kernelVersion"), _kernel),
    _info("containerRuntimeVersion"),
)


def _first_seen(event: Object) -> str:
    return since(event.get("firstTimestamp") or event.get("eventTime"))


def _last_seen(event: Object) -> str:
    if event.get("series"):
        return since(event["series"].get("lastObservedTime"))
    return since(event["lastTimestamp"]) if event.get("lastTimestamp") else _first_seen(event)


def _event_count(event: Object) -> int:
    if event.get("series"):
        return int(event["series"].get("count") or 0)
    return int(event.get("count") or 1)


def _event_object(event: Object) -> str:
    about = event.get("involvedObject") or {}
    kind = (about.get("kind") or "").lower()
    return f"{kind}/{about['name']}" if about.get("name") else kind


def _event_source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


EVENTS = (
    text("Last Seen", doc("core.v1.Event", "lastTimestamp"), _last_seen),
    text("Type", doc("core.v1.Event", "type"), at("type")),
    text("Reason", doc("core.v1.Event", "reason"), at("reason")),
    text("Object", doc("core.v1.Event", "involvedObject"), _event_object),
    wide("Subobject", doc("core.v1.ObjectReference", "fieldPath"), at("involvedObject.fieldPath")),
    wide("Source", doc("core.v1.Event", "source"), _event_source),
    text("Message", doc("core.v1.Event", "message"), lambda event: (event.get("message") or "").strip()),
    wide("First Seen", doc("core.v1.Event", "firstTimestamp"), _first_seen),
    wide("Count", doc("core.v1.Event", "count"), _event_count),
    Column("Name", "string", NAME.description, NAME.cell, "name", priority=1),
)


def _quota(obj: Object, limits: bool) -> str:
    status = obj.get("status") or {}
    used = status.get("used") or {}
    return ", ".join(
        f"{name}: {used.get(name, '0')}/{hard}"
        for name, hard in sorted((status.get("hard") or {}).items())
        if name.startswith("limits.") is limits
    )


RESOURCE_QUOTAS = (
    NAME,
    text(
        "Request",
        "Request represents a minimum amount of cpu/memory that a container may consume.",
        lambda obj: _quota(obj, limits=False),
    ),
    text(
        "Limit",
        "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the "
        "node.",
        lambda obj: _quota(obj, limits=True),
    ),
    AGE,
)


def _component(obj: Object, field: str) -> str:
    for condition in obj.get("conditions") or ():
        if condition.get("type") == "Healthy":
            if field == "status":
                return "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return condition.get(field) or ""
    return "Unknown" if field == "status" else ""


COMPONENT_STATUSES = (
    NAME,
    text("Status", "Status of the component conditions", lambda obj: _component(obj, "status")),
    text("Message", "Message of the component conditions", lambda obj: _component(obj, "message")),
    text("Error", "Error of the component conditions", lambda obj: _component(obj, "error")),
)

LEASES = (NAME, text("Holder", doc("coordination.v1.LeaseSpec", "holderIdentity"), at("spec.holderIdentity")), AGE)

PRIORITY_CLASSES = (
    NAME,
    integer("Value", doc("scheduling.v1.PriorityClass", "value"), number("value")),
    Column(
        "Global-Default", "boolean", doc("scheduling.v1.PriorityClass", "globalDefault"), at("globalDefault", False)
    ),
    AGE,
    text("PreemptionPolicy", doc("scheduling.v1.PriorityClass", "preemptionPolicy"), at("preemptionPolicy")),
)

RUNTIME_CLASSES = (NAME, text("Handler", "", at("handler")), AGE)
