"""What must hold of the core group's smaller kinds."""

from __future__ import annotations

import base64
import binascii
import json

from shim.api import names
from shim.api.meta import Object
from shim.api.quantity import Quantity
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import (
    duplicate,
    forbidden,
    immutable,
    invalid,
    named,
    one_of,
    required,
    too_long,
)
from shim.resources.pods.amounts import COUNTED, STANDARD, is_native, may_overcommit, quantity, resource_name
from shim.resources.pods.containers import PROTOCOLS
from shim.resources.pods.scheduling import EFFECTS
from shim.resources.service_rules import cidr, endpoint_address

_SIZE_LIMIT = 1024 * 1024
_SEALED = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"


def config_map(obj: Object) -> list[FieldError]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    causes: list[FieldError] = []
    size = 0
    for key, value in data.items():
        causes += named(f"data[{key}]", key, names.config_map_key)
        if key in binary:
            causes.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value.encode())
    for key, value in binary.items():
        causes += named(f"binaryData[{key}]", key, names.config_map_key)
        size += len(value) * 3 // 4
    return [*causes, too_long("", _SIZE_LIMIT)] if size > _SIZE_LIMIT else causes


def sealed(new: Object, old: Object, *fields: str) -> list[FieldError]:
    """What an object that was made immutable keeps."""
    if not old.get("immutable"):
        return []
    causes = [] if new.get("immutable") else [forbidden("immutable", _SEALED)]
    return causes + [forbidden(field, _SEALED) for field in fields if (new.get(field) or {}) != (old.get(field) or {})]


_KEYS_OF_TYPE = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def secret(obj: Object) -> list[FieldError]:
    data, kind = obj.get("data") or {}, obj.get("type") or ""
    causes: list[FieldError] = []
    for key in data:
        causes += named(f"data[{key}]", key, names.config_map_key)
    if sum(len(value or "") * 3 // 4 for value in data.values()) > _SIZE_LIMIT:
        causes.append(too_long("data", _SIZE_LIMIT))
    if kind == "kubernetes.io/service-account-token":
        name = "kubernetes.io/service-account.name"
        if not (obj["metadata"].get("annotations") or {}).get(name):
            causes.append(required(f"metadata.annotations[{name}]"))
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            causes += [required("data[username]"), required("data[password]")]
    else:
        causes += [required(f"data[{key}]") for key in _KEYS_OF_TYPE.get(kind, ()) if key not in data]
    if kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
        key = _KEYS_OF_TYPE[kind][0]
        complaint = _json_complaint(data[key]) if key in data else ""
        if complaint:
            causes.append(invalid(f"data[{key}]", _REDACTED, complaint))
    return causes


def _json_complaint(encoded: str | None) -> str:
    try:
        text = base64.b64decode(encoded or "").decode("utf-8", "replace")
        found = json.loads(text)
    except binascii.Error:
        return ""  # decoding said so
    except ValueError as error:
        position = getattr(error, "pos", 0)
        if not text or position >= len(text):
            return "unexpected end of JSON input"
        return f"invalid character '{text[position]}' looking for beginning of value"
    if not isinstance(found, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(found), "number")
        return f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    return ""


def secret_change(new: Object, old: Object) -> list[FieldError]:
    return immutable("type", new.get("type"), old.get("type")) + sealed(new, old, "data")


def taints(spec: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        at = f"metadata.taints[{index}]"  # upstream names the metadata here
        key, value, effect = taint.get("key") or "", taint.get("value") or "", taint.get("effect") or ""
        causes += named(f"{at}.key", key, names.label_key)
        complaints = names.label_value(value)
        if complaints:
            causes.append(invalid(f"{at}.value", value, ";".join(complaints)))
        causes += [required(f"{at}.effect")] if not effect else one_of(f"{at}.effect", effect, EFFECTS)
        if (key, effect) in seen:
            shown = {"key": key, "value": value, "effect": effect}
            cause = duplicate(at, {name: text for name, text in shown.items() if text})
            text = f"{cause.message}: taints must be unique by key and effect pair"
            causes.append(FieldError(cause.reason, at, text))
        seen.add((key, effect))
    return causes


def node(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    causes = taints(spec)
    for index, text in enumerate(spec.get("podCIDRs") or ()):
        causes += cidr(f"spec.podCIDRs[{index}]", text)
    for field in ("capacity", "allocatable"):
        for name, text in ((obj.get("status") or {}).get(field) or {}).items():
            causes += quantity(f"status.{field}[{name}]", name, text)
    return causes


def node_change(new: Object, old: Object) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    causes: list[FieldError] = []
    if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
        causes.append(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        causes.append(forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'))
    return causes + taints(spec)  # upstream looks at them twice, and says so twice


def endpoints(obj: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        at = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for address_index, address in enumerate(subset.get(field) or ()):
                here = f"{at}.{field}[{address_index}]"
                causes += endpoint_address(f"{here}.ip", address.get("ip") or "")
                if address.get("hostname"):
                    causes += named(f"{here}.hostname", address["hostname"], names.dns1123_label)
        ports = subset.get("ports") or ()
        for port_index, port in enumerate(ports):
            here = f"{at}.ports[{port_index}]"
            if port.get("name"):
                causes += named(f"{here}.name", port["name"], names.dns1123_label)
            elif len(ports) > 1:
                causes.append(required(f"{here}.name"))
            number = port.get("port") or 0
            causes += [invalid(f"{here}.port", number, text) for text in names.port_number(number)]
            causes += one_of(f"{here}.protocol", port.get("protocol") or "", PROTOCOLS)
    return causes


_QUOTA_RESOURCES = frozenset(STANDARD) - {"storage"}
_POD_SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
)


def resource_quota(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    causes: list[FieldError] = []
    for name, text in (spec.get("hard") or {}).items():
        at = f"spec.hard[{name}]"
        causes += resource_name(at, name)
        if (
            "/" not in name
            and name not in _QUOTA_RESOURCES
            and not name.startswith(("hugepages-", "requests.hugepages-"))
        ):
            causes.append(invalid(at, name, "must be a standard resource for quota"))
        causes += quantity(at, name, text)
        if (name in COUNTED or name.startswith("count/")) and is_native(name) and not amount(text).whole:
            causes.append(invalid(at, str(amount(text)), "must be an integer"))
    for scope in spec.get("scopes") or ():
        if scope not in _POD_SCOPES:
            causes.append(invalid("spec.scopes", spec["scopes"], "unsupported scope"))
    return causes


def resource_quota_change(new: Object, old: Object) -> list[FieldError]:
    scopes = (new.get("spec") or {}).get("scopes") or []
    if sorted(scopes) != sorted((old.get("spec") or {}).get("scopes") or []):
        return [invalid("spec.scopes", scopes, "field is immutable")]
    return []


def limit_range(obj: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    kinds: set[str] = set()
    for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
        at, kind = f"spec.limits[{index}]", limit.get("type") or ""
        if not kind:
            causes.append(required(f"{at}.type"))
        else:
            causes += named(f"{at}.type", kind, names.qualified_name)
        if kind in kinds:
            causes.append(duplicate(f"{at}.type", kind))
        kinds.add(kind)
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if limit.get(field):
                    causes.append(forbidden(f"{at}.{field}", "may not be specified when `type` is 'Pod'"))
        if kind == "PersistentVolumeClaim" and not any(
            "storage" in (limit.get(field) or ()) for field in ("min", "max")
        ):
            text = "either minimum or maximum storage value is required, but neither was provided"
            causes.append(required(f"{at}.limits", text))
        found = {
            field: {name: amount(text) for name, text in (limit.get(field) or {}).items()}
            for field in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
        }
        for name in dict.fromkeys(name for values in found.values() for name in values):
            causes += _limit(at, name, {field: values.get(name) for field, values in found.items()})
    return causes


def _limit(at: str, name: str, of: dict[str, Quantity | None]) -> list[FieldError]:
    """One resource's bounds and defaults must be in order."""
    least, most, default, request = of["min"], of["max"], of["default"], of["defaultRequest"]
    causes: list[FieldError] = []

    def ordered(low: Quantity | None, high: Quantity | None, words: tuple[str, str], blame: str, shown: int) -> None:
        if low is not None and high is not None and low > high:
            text = f"{words[0]} value {low} is greater than {words[1]} value {high}"
            causes.append(invalid(f"{at}.{blame}[{name}]", str((low, high)[shown]), text))

    ordered(least, most, ("min", "max"), "min", 0)
    ordered(least, request, ("min", "default request"), "defaultRequest", 1)
    ordered(request, most, ("default request", "max"), "defaultRequest", 0)
    ordered(request, default, ("default request", "default limit"), "defaultRequest", 0)
    ordered(least, default, ("min", "default"), "default", 0)
    ordered(default, most, ("default", "max"), "default", 1)
    ratio = of["maxLimitRequestRatio"]
    if ratio is not None and ratio.nanos < 10**9:
        causes.append(invalid(f"{at}.maxLimitRequestRatio[{name}]", str(ratio), f"ratio {ratio} is less than 1"))
    if not may_overcommit(name) and default is not None and request is not None and default != request:
        text = f"default value {default} must equal to defaultRequest value {request} in {name}"
        causes.append(invalid(f"{at}.defaultRequest[{name}]", str(request), text))
    return causes


def event(obj: Object) -> list[FieldError]:
    """An event lies in the namespace of what it is about; of things without one, in default."""
    about, namespace = obj.get("involvedObject") or {}, obj["metadata"].get("namespace") or ""
    found = about.get("namespace") or ""
    if not found and namespace not in ("", "default", "kube-system"):
        return [invalid("involvedObject.namespace", found, "does not match event.namespace")]
    if found and found != namespace:
        return [invalid("involvedObject.namespace", found, "does not match event.namespace")]
    return []
