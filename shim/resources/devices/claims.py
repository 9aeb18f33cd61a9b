"""What a claim may ask for: requests of devices, constraints between them, and what their drivers are told."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, named, one_of, required, unsupported
from shim.resources.devices import configuration
from shim.resources.devices.naming import device_class, every, fully_qualified, label
from shim.resources.devices.selectors import selectors

Names = Mapping[str, frozenset[str]]
"""The requests of a claim, each with the names of its alternatives."""

MOST_REQUESTS = 32
_MOST_CONSTRAINTS = 32
_MOST_ALTERNATIVES = 8
EFFECTS = ("NoExecute", "NoSchedule", "None")
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"


def default(spec: Object) -> None:
    """One device, unless more or all are asked for."""
    for request in (spec.get("devices") or {}).get("requests") or ():
        for wanted in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if wanted is None:
                continue
            if not wanted.get("allocationMode"):
                wanted["allocationMode"] = "ExactCount"
            if wanted["allocationMode"] == "ExactCount" and not wanted.get("count"):
                wanted["count"] = 1
            tolerations(wanted)


def tolerations(of: Object) -> None:
    """The operator of tolerations that name none."""
    for toleration in of.get("tolerations") or ():
        if not toleration.get("operator"):
            toleration["operator"] = "Equal"


def request_names(spec: Object) -> Names:
    return {
        request.get("name") or "": frozenset(each.get("name") or "" for each in request.get("firstAvailable") or ())
        for request in (spec.get("devices") or {}).get("requests") or ()
    }


def rules(at: str, spec: Object) -> list[FieldError]:
    """A claim's spec, or that of a template."""
    devices, at, known = spec.get("devices") or {}, f"{at}.devices", request_names(spec)

    def constraint(here: str, each: Object) -> list[FieldError]:
        causes = references(f"{here}.requests", each.get("requests"), known)
        for field in ("matchAttribute", "distinctAttribute"):
            if each.get(field) is not None:
                return causes + fully_qualified(f"{here}.{field}", each[field])
        text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        return [*causes, required(here, text)]  # upstream says so of none, too

    def config(here: str, each: Object) -> list[FieldError]:
        causes = references(f"{here}.requests", each.get("requests"), known)
        return causes + configuration.configuration(here, each)

    return [
        *every(f"{at}.requests", devices.get("requests"), _request, MOST_REQUESTS, _name),
        *every(f"{at}.constraints", devices.get("constraints"), constraint, _MOST_CONSTRAINTS),
        *every(f"{at}.config", devices.get("config"), config, configuration.MOST),
    ]


def _name(item: Object) -> str:
    return item.get("name") or ""


def _request(at: str, request: Object) -> list[FieldError]:
    causes = label(f"{at}.name", _name(request))
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable")
    if exactly is None and not alternatives:
        return [*causes, required(at, _ONE_OF)]
    if exactly is not None and alternatives:
        return [*causes, invalid(at, None, f"{_ONE_OF}, but multiple fields are set")]
    if exactly is not None:
        return causes + _wanted(f"{at}.exactly", exactly)
    return causes + every(f"{at}.firstAvailable", alternatives, _alternative, _MOST_ALTERNATIVES, _name)


def _alternative(at: str, wanted: Object) -> list[FieldError]:
    return label(f"{at}.name", _name(wanted)) + _wanted(at, wanted)


def _wanted(at: str, wanted: Object) -> list[FieldError]:
    """What one device, or each of so many, must be."""
    causes = device_class(f"{at}.deviceClassName", wanted.get("deviceClassName") or "")
    causes += selectors(f"{at}.selectors", wanted.get("selectors"))
    mode, count = wanted.get("allocationMode") or "", wanted.get("count") or 0
    if mode == "All" and count:
        causes.append(invalid(f"{at}.count", count, "must not be specified when allocationMode is 'All'"))
    elif mode == "ExactCount" and count <= 0:
        causes.append(invalid(f"{at}.count", count, "must be greater than zero"))
    causes += one_of(f"{at}.allocationMode", mode, ("All", "ExactCount"))
    return causes + every(f"{at}.tolerations", wanted.get("tolerations"), _toleration)


def _toleration(at: str, found: Object) -> list[FieldError]:
    key, operator, value = found.get("key") or "", found.get("operator") or "", found.get("value") or ""
    causes = named(f"{at}.key", key, names.label_key) if key else []
    if operator == "Exists" and value:
        causes.append(invalid(f"{at}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        causes += named(f"{at}.value", value, names.label_value)
    causes += one_of(f"{at}.operator", operator, ("Equal", "Exists"))
    effect = found.get("effect") or ""
    return causes + ([unsupported(f"{at}.effect", effect, EFFECTS)] if effect and effect not in EFFECTS else [])


def references(at: str, found: list[str] | None, known: Names) -> list[FieldError]:
    """Names of requests, none twice."""
    return every(at, found, lambda here, name: reference(here, name, known), MOST_REQUESTS, str)


def reference(at: str, name: str, known: Names) -> list[FieldError]:
    """``request``, or ``request/alternative``."""
    parts = name.split("/")
    text = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
    if len(parts) > 2:
        return [invalid(at, name, text)]
    causes = [cause for part in parts for cause in label(at, part)]
    if parts[0] not in known or (len(parts) == 2 and parts[1] not in known[parts[0]]):
        causes.append(invalid(at, name, text))
    return causes
