"""What must hold of the core group's smaller kinds."""

from __future__ import annotations

import base64
import binascii
import json

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import endpoint_ip, ip_address
from shim.resources.causes import (
    forbidden,
    immutable,
    invalid,
    named,
    one_of,
    required,
    too_long,
)
from shim.resources.metadata import known_finalizer
from shim.resources.pods.containers import PROTOCOLS

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
    return [*causes, too_long("[]", _SIZE_LIMIT)] if size > _SIZE_LIMIT else causes


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
        filled = kind == "kubernetes.io/ssh-auth"  # elsewhere an empty value will do
        for key in _KEYS_OF_TYPE.get(kind, ()):
            if not data.get(key) if filled else key not in data:
                causes.append(required(f"data[{key}]"))
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


def endpoints(obj: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        at = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for address_index, address in enumerate(subset.get(field) or ()):
                causes += _endpoint_address(f"{at}.{field}[{address_index}]", address)
        ports = subset.get("ports") or ()
        for port_index, port in enumerate(ports):
            causes += _endpoint_port(f"{at}.ports[{port_index}]", port, must_be_named=len(ports) > 1)
    return causes


def _endpoint_address(at: str, address: Object) -> list[FieldError]:
    text = address.get("ip") or ""
    causes = ip_address(f"{at}.ip", text)
    if address.get("hostname"):
        causes += named(f"{at}.hostname", address["hostname"], names.dns1123_label)
    if address.get("nodeName") is not None:
        causes += named(f"{at}.nodeName", address["nodeName"], names.dns1123_subdomain)
    return causes + endpoint_ip(f"{at}.ip", text)


def _endpoint_port(at: str, port: Object, must_be_named: bool) -> list[FieldError]:
    causes: list[FieldError] = []
    if port.get("name"):
        causes += named(f"{at}.name", port["name"], names.dns1123_label)
    elif must_be_named:
        causes.append(required(f"{at}.name"))
    number = port.get("port") or 0
    causes += [invalid(f"{at}.port", number, text) for text in names.port_number(number)]
    causes += one_of(f"{at}.protocol", port.get("protocol") or "", PROTOCOLS)
    if port.get("appProtocol") is not None:
        causes += named(f"{at}.appProtocol", port["appProtocol"], names.qualified_name)
    return causes


def namespace(obj: Object, indexed: bool = False) -> list[FieldError]:
    """A namespace's own finalizers; complaints name the one they mean only where it can be set."""
    causes: list[FieldError] = []
    for index, finalizer in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
        at = f"spec.finalizers[{index}]" if indexed else "spec.finalizers"
        causes += named(at, finalizer, names.qualified_name) + known_finalizer(at, finalizer)
    return causes


def namespace_status(new: Object) -> list[FieldError]:
    phase = (new.get("status") or {}).get("phase") or ""
    deleted = bool(new["metadata"].get("deletionTimestamp"))
    wanted, when = ("Terminating", "not empty") if deleted else ("Active", "empty")
    if phase == wanted:
        return []
    return [invalid("status.Phase", phase, f"may only be '{wanted}' if `deletionTimestamp` is {when}")]
