"""ResourceSlices: the devices of a driver that some nodes can reach, as the driver tells of them."""

from __future__ import annotations

from collections.abc import Iterable

from shim.api import names
from shim.api.meta import Object, now
from shim.api.status import FieldError
from shim.resources.causes import duplicate, immutable, invalid, named, one_of, required
from shim.resources.devices import attributes
from shim.resources.devices.claims import EFFECTS
from shim.resources.devices.naming import driver, each_entry, entries, every, label, pool
from shim.resources.pods.scheduling import node_selector
from shim.resources.printed import go_struct

_MOST_DEVICES, _MOST_ADVANCED_DEVICES = 128, 64
_MOST_COUNTER_SETS, _MOST_COUNTERS, _MOST_CONSUMED = 8, 32, 2
_MOST_OF_A_DEVICE, _MOST_VALUES = 32, 48
_MOST_CONDITIONS = 4
_MOST_TAINTS = 16
_TERMS = "nodeSelectorTerms"
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")


def default(spec: Object) -> None:
    """Taints say since when they are there; what is alpha in v1.36 is dropped."""
    for device in spec.get("devices") or ():
        device.pop("nodeAllocatableResourceMappings", None)
        for attribute in (device.get("attributes") or {}).values():
            attributes.drop_lists(attribute)
        for taint in device.get("taints") or ():
            if not taint.get("timeAdded"):
                taint["timeAdded"] = now()


def rules(spec: Object, old: Object | None = None) -> list[FieldError]:
    """A slice's spec; ``old``: the one before, of which not all may change."""
    causes = driver("spec.driver", spec.get("driver") or "")
    causes += _pool(spec.get("pool") or {})
    if old is not None:
        causes += immutable("spec.pool.name", (spec.get("pool") or {}).get("name"), (old.get("pool") or {}).get("name"))
        for field in ("driver", "nodeName"):
            causes += immutable(f"spec.{field}", spec.get(field), old.get(field))
    causes += _place(spec)
    devices = spec.get("devices")
    if spec.get("sharedCounters") is not None and devices is not None:
        causes.append(invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    known = {device.get("name") or "": device for device in reversed((old or {}).get("devices") or [])}
    each_has_a_place = bool(spec.get("perDeviceNodeSelection"))

    def device(at: str, found: Object) -> list[FieldError]:
        before = known.get(found.get("name") or "")
        return _device(at, found, before, each_has_a_place)

    advanced = any(device.get("taints") or device.get("consumesCounters") for device in devices or ())
    most = _MOST_ADVANCED_DEVICES if advanced else _MOST_DEVICES
    causes += every("spec.devices", devices, device, most, _name)
    counters = spec.get("sharedCounters")
    return causes + every("spec.sharedCounters", counters, _counter_set, _MOST_COUNTER_SETS, _name)


def _name(item: Object) -> str:
    return item.get("name") or ""


def _pool(found: Object) -> list[FieldError]:
    causes = pool("spec.pool.name", found.get("name") or "")
    count, generation = found.get("resourceSliceCount") or 0, found.get("generation") or 0
    if count <= 0:
        causes.append(invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        causes.append(invalid("spec.pool.generation", generation, "must be greater than or equal to zero"))
    return causes


def _place(spec: Object) -> list[FieldError]:
    """Which nodes reach the devices: said in exactly one way."""
    causes: list[FieldError] = []
    node, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if node == "":
        causes.append(invalid("spec.nodeName", node, "must be either unset or set to a non-empty string"))
    elif node is not None:
        causes += named("spec.nodeName", node, names.dns1123_subdomain)
    if selector is not None:
        causes += node_selector("spec.nodeSelector", selector)
        terms = selector.get(_TERMS) or []
        if len(terms) != 1:
            shown = [go_struct("core.v1.NodeSelectorTerm", term) for term in terms] if terms else selector.get(_TERMS)
            text = "must have exactly one node selector term"
            causes.append(invalid("spec.nodeSelector.nodeSelectorTerms", shown, text))
    for field in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(field) is False:
            causes.append(invalid(f"spec.{field}", False, "must be either unset or set to true"))
    text = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    said = _said(spec, _PLACES)
    if not said:
        causes.append(required("spec", text))
    elif len(said) > 1:
        causes.append(invalid("spec", _listed(said), f"{text}, but multiple fields are set"))
    return causes


def _said(found: Object, fields: Iterable[str]) -> list[str]:
    return [field for field in fields if found.get(field) not in (None, "", False)]


def _listed(fields: list[str]) -> str:
    return f"{{{', '.join(f'`{field}`' for field in fields)}}}"


def _counter_set(at: str, found: Object) -> list[FieldError]:
    return _counters(at, "name", found, _MOST_COUNTERS)


def _counters(at: str, field: str, found: Object, most: int) -> list[FieldError]:
    """Named counters, of the set that ``field`` names."""
    name, counters = found.get(field) or "", found.get("counters")
    causes = label(f"{at}.{field}", name) if name else [required(f"{at}.{field}")]
    if not counters:
        return [*causes, required(f"{at}.counters")]
    return causes + each_entry(f"{at}.counters", counters, label, lambda here, counter: [], most)


def _device(at: str, found: Object, before: Object | None, has_a_place: bool) -> list[FieldError]:
    causes = label(f"{at}.name", found.get("name") or "")
    known, capacity = found.get("attributes") or {}, found.get("capacity") or {}
    count = len(known) + len(capacity)
    if count > _MOST_OF_A_DEVICE:
        text = f"the total number of attributes and capacities must not exceed {_MOST_OF_A_DEVICE}"
        causes.append(invalid(at, count, text))
    if len(known) > _MOST_VALUES:
        text = f"the total number of attribute values must not exceed {_MOST_VALUES}"
        causes.append(invalid(at, len(known), text))
    causes += entries(f"{at}.attributes", known, attributes.attribute)
    shared = attributes.shared_capacity if found.get("allowMultipleAllocations") else attributes.whole_capacity
    causes += entries(f"{at}.capacity", capacity, shared)
    if before is None or before.get("taints") != found.get("taints"):
        causes += every(f"{at}.taints", found.get("taints"), _taint, _MOST_TAINTS)

    def consumed(here: str, each: Object) -> list[FieldError]:
        return _counters(here, "counterSet", each, _MOST_COUNTERS)

    consumes = found.get("consumesCounters")
    causes += every(
        f"{at}.consumesCounters", consumes, consumed, _MOST_CONSUMED, lambda each: each.get("counterSet") or ""
    )
    causes += _own_place(at, found) if has_a_place else _no_place(at, found)
    return causes + binding(at, found)


def _own_place(at: str, found: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    node, selector = found.get("nodeName"), found.get("nodeSelector")
    if node == "":
        causes.append(invalid(f"{at}.nodeName", node, "must not be empty"))
    elif node is not None:
        causes += named(f"{at}.nodeName", node, names.dns1123_subdomain)
    if selector is not None:
        causes += node_selector(f"{at}.nodeSelector", selector)
    if found.get("allNodes") is False:
        causes.append(invalid(f"{at}.allNodes", False, "must be either unset or set to true"))
    text = (
        "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to "
        "true in the ResourceSlice spec"
    )
    said = _said(found, _PLACES[:3])
    if not said:
        causes.append(required(at, text))
    elif len(said) > 1:
        causes.append(invalid(at, _listed(said), text))
    return causes


def _no_place(at: str, found: Object) -> list[FieldError]:
    if all(found.get(field) is None for field in _PLACES[:3]):
        return []
    text = "can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
    return [invalid(at, None, f"`nodeName`, `nodeSelector` and `allNodes` {text}")]


def _taint(at: str, found: Object) -> list[FieldError]:
    value, effect = found.get("value") or "", found.get("effect") or ""
    causes = named(f"{at}.key", found.get("key") or "", names.label_key)
    causes += named(f"{at}.value", value, names.label_value) if value else []
    return causes + (one_of(f"{at}.effect", effect, EFFECTS) if effect else [required(f"{at}.effect")])


def binding(at: str, found: Object) -> list[FieldError]:
    """Conditions a device must meet before a pod is bound, and those that mean it never will (KEP-5007)."""
    wanted, failures = found.get("bindingConditions") or [], found.get("bindingFailureConditions") or []

    def condition(here: str, name: str) -> list[FieldError]:
        return named(here, name, names.label_key)

    causes = every(f"{at}.bindingConditions", wanted, condition, _MOST_CONDITIONS)
    causes += every(f"{at}.bindingFailureConditions", failures, condition, _MOST_CONDITIONS)
    for field, listed in (("bindingConditions", wanted), ("bindingFailureConditions", failures)):
        for index, name in enumerate(listed):
            here = f"{at}.{field}[{index}]"
            if name in listed[:index]:
                causes.append(duplicate(here, name))
            if field == "bindingFailureConditions" and name in wanted:
                causes.append(invalid(here, name, "bindingFailureConditions must not overlap with bindingConditions"))
    if failures and not wanted:
        text = "bindingConditions are required to use bindingFailureConditions"
        causes.append(invalid(f"{at}.bindingConditions", None, text))
    if wanted and not failures:
        text = "bindingFailureConditions are required to use bindingConditions"
        causes.append(invalid(f"{at}.bindingFailureConditions", None, text))
    return causes
