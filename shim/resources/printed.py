"""Structs as messages print them: those without JSON names of their own, by the names and in the order Go has them.

Upstream validates its internal types, which are not what clients write: a complaint that quotes a whole struct shows
every field, set or not, under Go's name. :func:`go_struct` makes that of a client's object, from the schema's facts;
:func:`difference` is what is told when something that must not change did.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from shim.api.meta import Object
from shim.api.schema import Definition, Type
from shim.codec.definitions import load_schema
from shim.resources.amounts import amount

_ACRONYMS = frozenset(
    "api aws cel cpu csi dns fc fs gce gid gmsa grpc http id ip iqn iscsi nfs os pd qos rbd se ssl tcp ttl tty uid uri "
    "url wwids".split()
)
"""First words of JSON names that Go writes in capitals."""
_NAMES = {
    # names that follow no rule; of one struct alone where it is named
    "cephfs": "CephFS",
    "chapAuthDiscovery": "DiscoveryCHAPAuth",
    "chapAuthSession": "SessionCHAPAuth",
    "diskURI": "DataDiskURI",
    "endpoints": "EndpointsName",
    "externalID": "DoNotUseExternalID",
    "ips": "IPs",
    "pdID": "PdID",
    "reportingComponent": "ReportingController",
    "storageos": "StorageOS",
    "wwids": "WWIDs",
    **{
        f"{struct}.{field}": name
        for struct in ("RBDVolumeSource", "RBDPersistentVolumeSource")
        for field, name in (
            ("image", "RBDImage"),
            ("monitors", "CephMonitors"),
            ("pool", "RBDPool"),
            ("user", "RadosUser"),
        )
    },
    **{f"DeviceAttribute.{field}": f"{field.capitalize()}Value" for field in ("bool", "int", "string", "version")},
    **{f"DeviceAttribute.{field}s": f"{field.capitalize()}Values" for field in ("bool", "int", "string", "version")},
}
_ORDER: dict[str, tuple[str, ...]] = {
    # where the internal type has other fields, or has them in another order, than the one clients write
    "PodSpec": (
        "Volumes",
        "InitContainers",
        "Containers",
        "EphemeralContainers",
        "RestartPolicy",
        "TerminationGracePeriodSeconds",
        "ActiveDeadlineSeconds",
        "DNSPolicy",
        "NodeSelector",
        "ServiceAccountName",
        "AutomountServiceAccountToken",
        "NodeName",
        "SecurityContext",
        "ImagePullSecrets",
        "Hostname",
        "Subdomain",
        "SetHostnameAsFQDN",
        "Affinity",
        "SchedulerName",
        "Tolerations",
        "HostAliases",
        "PriorityClassName",
        "Priority",
        "PreemptionPolicy",
        "DNSConfig",
        "ReadinessGates",
        "RuntimeClassName",
        "Overhead",
        "EnableServiceLinks",
        "TopologySpreadConstraints",
        "OS",
        "SchedulingGates",
        "ResourceClaims",
        "Resources",
        "HostnameOverride",
        "SchedulingGroup",
    ),
}
_MOVED = {
    # fields that stand behind others there
    "PodSecurityContext": (("Sysctls", "FSGroupChangePolicy"),),
    "Volume": (("Quobyte", "RBD"),),
    "PersistentVolumeSource": (("Quobyte", "RBD"), ("FlexVolume", "ISCSI")),
    "PersistentVolumeSpec": (("Quobyte", "RBD"), ("FlexVolume", "ISCSI")),
}
_OF_THE_HOST = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
_EMPTY: dict[str, Any] = {"string": "", "int32": 0, "int64": 0, "float64": 0, "bool": False}


def go_struct(name: str, value: Mapping[str, Any] | None) -> Object | None:
    """A struct by its name in the schema (``core.v1.PodSpec``), as Go prints the internal one."""
    if value is None:
        return None
    return _struct(load_schema().named(f"io.k8s.api.{name}"), value)


def difference(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed between two structs, as a unified diff of them printed line by line."""
    before, after = (_lines(go_struct(name, value)) for value in (old, new))
    return "".join(list(difflib.unified_diff(before, after, n=3))[2:])  # without the names of files


def _lines(value: object) -> list[str]:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return [f"{line}\n" for line in text.split("\n")]


def _go_name(field: str, struct: str = "") -> str:
    name = _NAMES.get(f"{struct}.{field}") or _NAMES.get(field)
    if name:
        return name
    first = re.match("[a-z0-9]+", field)
    word = first[0] if first else ""
    return (word.upper() if word in _ACRONYMS else word.capitalize()) + field[len(word) :]


def _struct(definition: Definition, value: Mapping[str, Any]) -> Object:
    schema = load_schema()
    printed: Object = {}
    for facts in schema.flat(definition.name):
        field = definition.fields[facts.name]
        found = value.get(facts.name)
        if facts.name == "metadata":  # embedded there, and so one with the struct
            printed |= {name: each for name, each in _as_json(field.type, found or {}).items() if each not in ([], {})}
            continue
        printed[_go_name(facts.name, definition.struct)] = (
            None if field.pointer and found is None else _value(field.type, found)
        )
    for moved, before in _MOVED.get(definition.struct, ()):
        value_of_moved = printed.pop(moved)
        items = list(printed.items())
        place = list(printed).index(before) + 1
        printed = dict([*items[:place], (moved, value_of_moved), *items[place:]])
    if definition.struct == "PodSpec":  # what of the host a pod shares stands in its security context there
        host = {_go_name(field): printed.pop(_go_name(field), None) for field in _OF_THE_HOST}
        context = printed.get("SecurityContext")
        if context is not None:
            printed["SecurityContext"] = host | context
    order = _ORDER.get(definition.struct)
    return {field: printed.get(field) for field in order} if order else printed


def _as_json(type: Type, value: Any) -> Any:
    """A struct of those that have JSON names, in the order of its fields."""
    if isinstance(value, list) and type.element is not None:
        return [_as_json(type.element, each) for each in value]
    if isinstance(value, dict) and type.kind == "map":
        return dict(sorted(value.items()))
    if isinstance(value, dict) and type.definition is not None:
        fields = type.definition.fields
        return {name: _as_json(field.type, value[name]) for name, field in fields.items() if name in value}
    return value


def _value(type: Type, value: Any) -> Any:
    if type.kind == "list":
        assert type.element is not None
        return None if value is None else [_value(type.element, each) for each in value]
    if type.kind == "map":
        assert type.element is not None
        return None if value is None else {key: _value(type.element, value[key]) for key in sorted(value)}
    if type.kind == "struct":
        assert type.definition is not None
        if ".meta.v1." in type.definition.name:  # those have JSON names
            return _as_json(type, value or {})
        return _struct(type.definition, value or {})
    if type.kind == "Quantity":
        return str(amount(value))
    return _EMPTY.get(type.kind) if value is None else value
