"""What must hold of Nodes."""

from __future__ import annotations

import json
import re
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import cidr, parse_range
from shim.resources.causes import duplicate, forbidden, internal, invalid, named, one_of, required, shown
from shim.resources.pods.amounts import quantity
from shim.resources.pods.scheduling import EFFECTS

_ONCE = 'node updates may not change {} except from "" to valid'
_AVOID = "scheduler.alpha.kubernetes.io/preferAvoidPods"
_FEATURE = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z0-9]+)*")
_NOT_A_FEATURE = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' "
    "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)


def node(obj: Object) -> list[FieldError]:
    """All of a node but its metadata; its status is looked at too, as kubelets register with one."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    causes = _avoided_pods(obj) + taints(spec) + _amounts(status)
    swap = ((status.get("nodeInfo") or {}).get("swap") or {}).get("capacity")
    if swap is not None and swap <= 0:
        causes.append(invalid("metadata.nodeSwapStatus.capacity", swap, "must be greater than zero"))
    return causes + _features(status) + _ranges(spec.get("podCIDRs") or [])


def change(new: Object, old: Object) -> list[FieldError]:
    """What of a node may change, and once more most of what must hold of it."""
    spec, before, status = new.get("spec") or {}, old.get("spec") or {}, new.get("status") or {}
    causes = _avoided_pods(new) + _amounts(status) + _features(status) + _addresses(status)
    ranges, had = spec.get("podCIDRs") or [], before.get("podCIDRs") or []
    if had:
        different = 1 if len(ranges) != len(had) else sum(now != was for now, was in zip(ranges, had, strict=True))
        causes += [forbidden("spec.podCIDRs", _ONCE.format("podCIDR"))] * different
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        causes.append(forbidden("spec.providerID", _ONCE.format("providerID")))
    causes += taints(spec)
    if spec.get("externalID") != before.get("externalID"):
        causes.append(forbidden("spec.externalID", "may not be updated"))
    return causes


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
            as_go = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            cause = duplicate(at, as_go)
            text = f"{cause.message}: taints must be unique by key and effect pair"
            causes.append(FieldError(cause.reason, at, text))
        seen.add((key, effect))
    return causes


def _amounts(status: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field in ("capacity", "allocatable"):
        for name, text in (status.get(field) or {}).items():
            causes += quantity(f"status.{field}.{name}", name, text)
    return causes


def _features(status: Object) -> list[FieldError]:
    """Features a kubelet declares, sorted so that equal nodes look alike."""
    causes: list[FieldError] = []
    found = status.get("declaredFeatures") or []
    for index, name in enumerate(found):
        at = f"status.declaredFeatures[{index}]"
        if index and name == found[index - 1]:
            causes.append(duplicate(at, name))
        elif index and name < found[index - 1]:
            causes.append(invalid(at, name, "list must be sorted alphabetically"))
        if len(name) > names.SUBDOMAIN_MAX:
            causes.append(invalid(at, name, f"invalid feature name {shown(name)}: {names.too_long(253)}"))
        elif not _FEATURE.fullmatch(name):
            causes.append(invalid(at, name, f"invalid feature name {shown(name)}: {_NOT_A_FEATURE}"))
    return causes


def _ranges(found: list[str]) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, text in enumerate(found):
        causes += cidr(f"spec.podCIDRs[{index}]", text)
    if len(found) > 1:
        parsed = [parse_range(text) for text in found]
        if None in parsed:
            index = parsed.index(None)
            why = f"invalid CIDR[{index}]: <nil> (invalid CIDR address: {found[index]})"
            text = f"invalid PodCIDRs. failed to check with dual stack with error:{why}"
            causes.append(internal("spec.podCIDRs", text))
        if len(found) > 2 or {each and each[1].version for each in parsed} != {4, 6}:
            text = "may specify no more than one CIDR for each IP family"
            causes.append(invalid("spec.podCIDRs", found, text))
    return causes


def _addresses(status: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, each in enumerate(status.get("addresses") or ()):
        found = each.get("type") or "", each.get("address") or ""
        if found in seen:
            causes.append(duplicate(f"status.addresses[{index}]", {"Type": found[0], "Address": found[1]}))
        seen.add(found)
    return causes


def _avoided_pods(obj: Object) -> list[FieldError]:
    """The annotation from before taints: JSON that names the controllers whose pods should go elsewhere."""
    text = (obj["metadata"].get("annotations") or {}).get(_AVOID)
    if not text:
        return []
    at = "metadata.annotations"
    try:
        entries: Any = json.loads(text).get("preferAvoidPods") or []
    except (ValueError, AttributeError) as error:
        return [invalid(f"{at}.AvoidPods", _AVOID, str(error))]
    causes: list[FieldError] = []
    for index, entry in enumerate(entries):
        signature = f"{at}.{_AVOID}[{index}].PodSignature"
        controller = (entry.get("podSignature") or {}).get("podController")
        if controller is None:
            causes.append(required(signature))
        elif not controller.get("controller"):
            causes.append(invalid(f"{signature}.PodController.Controller", False, "must point to a controller"))
    return causes
