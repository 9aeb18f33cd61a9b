"""Events are kept in one form and served in two: as core/v1 has them, and as events.k8s.io/v1.

Each function takes an object and returns a new one in the other form; what they share is shared, not copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shim.api.meta import Object

_EVENT_FIELDS = (
    # core/v1, where events are kept; events.k8s.io/v1
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_NEW = dict(_EVENT_FIELDS)
_TO_CORE = {new: old for old, new in _EVENT_FIELDS}


def event_to_core(event: Object) -> Object:
    """``events.k8s.io/v1`` -> ``v1``."""
    converted = {_TO_CORE.get(key, key): value for key, value in event.items()}
    return {**converted, "apiVersion": "v1"}


def event_from_core(event: Object) -> Object:
    """``v1`` -> ``events.k8s.io/v1``."""
    converted = {_TO_NEW.get(key, key): value for key, value in event.items()}
    for field in ("reportingController", "reportingInstance"):  # always printed there, only when set here
        if converted.get(field) == "":
            del converted[field]
    return {**converted, "apiVersion": "events.k8s.io/v1"}


def field_names(kept: Iterable[str]) -> Mapping[str, str]:
    """What selectors of ``events.k8s.io/v1`` call the fields of ``v1``; it has no word for the source."""
    found = {}
    for name in kept:
        top, dot, below = name.partition(".")
        if top != "source":
            found[f"{_TO_NEW.get(top, top)}{dot}{below}"] = name
    return found
