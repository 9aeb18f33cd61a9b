"""What must hold of the kinds of storage.k8s.io: classes, and what drivers say of themselves and of nodes."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import (
    IMMUTABLE,
    NOT_NEGATIVE,
    as_map,
    as_selector,
    duplicate,
    forbidden,
    immutable,
    invalid,
    label_selector,
    named,
    not_negative,
    one_of,
    required,
    too_long,
    unsupported,
)
from shim.resources.pods.sources import csi_driver
from shim.resources.volume_rules import inline_volume

_PARAMETERS_LIMIT = 512
_SIZE_LIMIT = 256 * 1024
_NODE_ID_LIMIT = 256
_MESSAGE_LIMIT = 1024
_FS_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MAX_INT32 = 2**31 - 1


def _size(found: Object) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in found.items())


def _parameters(at: str, found: Object, may_be_empty: bool) -> list[FieldError]:
    if len(found) > _PARAMETERS_LIMIT:
        return [too_long(at, _PARAMETERS_LIMIT)]
    causes = [invalid(at, "", "field can not be empty.")] if "" in found else []
    if _size(found) > _SIZE_LIMIT:
        causes.append(too_long(at, _SIZE_LIMIT))
    if not may_be_empty and not found:
        causes.append(required(at, "must contain at least one key/value pair"))
    return causes


def _provisioner(at: str, name: str) -> list[FieldError]:
    return named(at, name.lower(), names.qualified_name) if name else [required(at)]


def storage_class(obj: Object) -> list[FieldError]:
    causes = _provisioner("provisioner", obj.get("provisioner") or "")
    causes += _parameters("parameters", obj.get("parameters") or {}, may_be_empty=True)
    if obj.get("reclaimPolicy"):
        causes += one_of("reclaimPolicy", obj["reclaimPolicy"], ("Delete", "Retain"))
    causes += one_of("volumeBindingMode", obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))
    terms = obj.get("allowedTopologies") or ()
    seen: list[dict[str, set[str]]] = [{} for _ in terms]  # an empty term is a duplicate of itself
    for index, term in enumerate(terms):
        causes += _topology(f"allowedTopologies[{index}].matchLabelExpressions", term, seen)
    return causes


def _topology(at: str, term: Object, seen: list[dict[str, set[str]]]) -> list[FieldError]:
    causes: list[FieldError] = []
    expressions: dict[str, set[str]] = {}
    for index, each in enumerate(term.get("matchLabelExpressions") or ()):
        here, values = f"{at}[{index}]", each.get("values") or []
        if not values:
            causes.append(required(f"{here}.values"))
        for value_index, value in enumerate(values):
            if value in values[:value_index]:
                causes.append(duplicate(f"{here}.values[{value_index}]", value))
        key = each.get("key") or ""
        causes += named(f"{here}.key", key, names.label_key)
        if key in expressions:
            causes.append(duplicate(f"{here}.key", key))
        expressions[key] = set(values)
    causes += [duplicate(at, "") for other in seen if other == expressions]
    seen.append(expressions)
    return causes


def storage_class_change(new: Object, old: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        if (new.get(field) or None) != (old.get(field) or None):
            now = new.get(field)
            shown = as_map(now) if field == "parameters" else now or "" if field == "provisioner" else now
            causes.append(invalid(field, shown, IMMUTABLE))
    return causes


def attributes_class(obj: Object) -> list[FieldError]:
    causes = _provisioner("driverName", obj.get("driverName") or "")
    return causes + _parameters("parameters", obj.get("parameters") or {}, may_be_empty=False)


def attributes_class_change(new: Object, old: Object) -> list[FieldError]:
    changed = [field for field in ("driverName", "parameters") if (new.get(field) or None) != (old.get(field) or None)]
    return [forbidden(field, f"updates to {field} are forbidden.") for field in changed]


def csi_driver_object(obj: Object) -> list[FieldError]:
    """A CSIDriver. Defaults have filled in what it may leave out."""
    spec = obj.get("spec") or {}
    causes: list[FieldError] = []
    if spec.get("fsGroupPolicy") is not None:
        causes += one_of("spec.fsGroupPolicy", spec["fsGroupPolicy"], _FS_GROUP_POLICIES)
    tokens = spec.get("tokenRequests") or []
    seen: set[str] = set()
    for index, token in enumerate(tokens):
        causes += _token(f"spec.tokenRequests[{index}]", token, seen)
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in ("Persistent", "Ephemeral"):
            causes.append(unsupported("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral")))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        text = "must be greater than or equal to 10 seconds"
        causes.append(invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, text))
    in_secrets = spec.get("serviceAccountTokenInSecrets")
    if in_secrets is not None and not tokens:
        text = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        causes.append(invalid("spec.serviceAccountTokenInSecrets", in_secrets, text))
    return causes


def _token(at: str, token: Object, seen: set[str]) -> list[FieldError]:
    audience, seconds = token.get("audience") or "", token.get("expirationSeconds")
    if audience in seen:
        return [duplicate(f"{at}.audience", audience)]
    seen.add(audience)
    if seconds is not None and seconds < 600:
        return [invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")]
    if seconds is not None and seconds > 2**32:
        return [invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


def csi_driver_change(new: Object, old: Object) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    causes = []
    for field, told in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")):
        if spec.get(field) != before.get(field):
            causes.append(invalid(f"spec.{told}", spec.get(field), IMMUTABLE))
    return causes


def csi_node(obj: Object) -> list[FieldError]:
    """A CSINode: which drivers a node has."""
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        at, name, node = f"spec.drivers[{index}]", driver.get("name") or "", driver.get("nodeID") or ""
        causes += csi_driver(f"{at}.name", name)
        if not node:
            causes.append(required(f"{at}.nodeID"))
        if len(node.encode()) > _NODE_ID_LIMIT:
            causes.append(invalid(f"{at}.nodeID", node, f"must be {_NODE_ID_LIMIT} characters or less"))
        causes += not_negative(f"{at}.allocatable.count", (driver.get("allocatable") or {}).get("count"))
        if name in seen:
            causes.append(duplicate(f"{at}.name", name))
        seen.add(name)
        keys = driver.get("topologyKeys") or []
        for key_index, key in enumerate(keys):
            causes += [] if key else [required(at)]
            causes += [duplicate(at, key)] if key in keys[:key_index] else []
            causes += named(at, key, names.qualified_name)
    return causes


def csi_node_change(new: Object, old: Object) -> list[FieldError]:
    """A driver once named keeps what it said, but for how much it can hold."""

    def said(driver: Object) -> Object:
        texts = {field: driver.get(field) or "" for field in ("name", "nodeID")}
        return {"Name": texts["name"], "NodeID": texts["nodeID"], "TopologyKeys": driver.get("topologyKeys")}

    causes: list[FieldError] = []
    for before in (old.get("spec") or {}).get("drivers") or ():
        for driver in (new.get("spec") or {}).get("drivers") or ():
            if driver.get("name") == before.get("name") and said(driver) != said(before):
                causes.append(invalid("spec.drivers", {**said(driver), "Allocatable": None}, IMMUTABLE))
    return causes


def capacity(obj: Object) -> list[FieldError]:
    """A CSIStorageCapacity: how much of a class there is left where."""
    causes = label_selector("nodeTopology", obj.get("nodeTopology"))
    causes += named("storageClassName", obj.get("storageClassName") or "", names.dns1123_subdomain)
    found = amount(obj.get("capacity"))
    return causes if found.nanos >= 0 else [*causes, invalid("capacity", str(found), NOT_NEGATIVE)]


def capacity_change(new: Object, old: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    if (new.get("nodeTopology") or None) != (old.get("nodeTopology") or None):
        causes.append(invalid("nodeTopology", as_selector(new.get("nodeTopology")), IMMUTABLE))
    return causes + immutable("storageClassName", new.get("storageClassName") or "", old.get("storageClassName") or "")


_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def attachment(obj: Object) -> list[FieldError]:
    """A VolumeAttachment: which volume is wanted on which node."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    causes = csi_driver("spec.attacher", spec.get("attacher") or "")
    source = spec.get("source") or {}
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if name is None and inline is None:
        causes.append(required("spec.source", _ONE_SOURCE))
    elif name is not None and inline is not None:
        causes.append(forbidden("spec.source", _ONE_SOURCE))
    elif name == "":
        causes.append(required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
    elif inline is not None:
        causes += inline_volume("spec.source.inlineVolumeSpec", inline)
    causes += named("spec.nodeName", spec.get("nodeName") or "", names.dns1123_subdomain)
    if _size(status.get("attachmentMetadata") or {}) > _SIZE_LIMIT:
        causes.append(too_long("status.attachmentMetadata", _SIZE_LIMIT))
    for field in ("attachError", "detachError"):
        causes += _volume_error(f"status.{field}", status.get(field) or {})
    if name is not None:
        causes += named("spec.source.persistentVolumeName", name, names.dns1123_subdomain)
    return causes


def _volume_error(at: str, error: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    if len((error.get("message") or "").encode()) > _MESSAGE_LIMIT:
        causes.append(too_long(f"{at}.message", _SIZE_LIMIT))
    code = error.get("errorCode")
    if code is not None and code < 0:
        causes += [invalid(f"{at}.errorCode", code, text) for text in names.in_range(code, 0, _MAX_INT32)]
    return causes
