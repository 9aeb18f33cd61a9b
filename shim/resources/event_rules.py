"""What must hold of Events. They are kept as core/v1 has them; ``events.k8s.io/v1`` asks more of those it takes.

Both functions take the core form. ``strict`` is the newer group's way (KEP-383): an event says who reports what
action when, and once written only its series changes.
"""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import IMMUTABLE, invalid, named, required
from shim.resources.printed import go_struct

_TEXT_LIMIT = 128
_NOTE_LIMIT = 1024
_OLD_FIELDS = ("firstTimestamp", "lastTimestamp", "count")
_FIXED = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "reason",  # upstream asks twice
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
)


_STRUCTS = {
    "involvedObject": "core.v1.ObjectReference",
    "related": "core.v1.ObjectReference",
    "source": "core.v1.EventSource",
}


def create(event: Object, strict: bool) -> list[FieldError]:
    causes = _legacy(event, strict)
    if not strict:
        return causes
    causes += metadata.validate(event, names.dns1123_subdomain) + _series(event)
    if not event.get("eventTime"):
        causes.append(required("eventTime"))
    if event.get("type") not in ("Normal", "Warning"):
        causes.append(invalid("type", "", f"has invalid value: {event.get('type') or ''}"))
    causes += [invalid(field, "", "needs to be unset") for field in _OLD_FIELDS if event.get(field)]
    source = event.get("source") or {}
    if source.get("component") or source.get("host"):
        causes.append(invalid("source", "", "needs to be unset"))
    return causes


def update(new: Object, old: Object, strict: bool) -> list[FieldError]:
    causes = _legacy(new, strict)
    if not strict:
        return causes
    causes += metadata.validate_update(new, old)
    if new.get("series") != old.get("series"):
        causes += _series(new)
    for field in _FIXED:
        now, was = new.get(field) or None, old.get(field) or None
        if now != was:
            name = "reportingController" if field == "reportingComponent" else field
            causes.append(invalid(name, _as_go(field, now), IMMUTABLE))
    return causes


def _as_go(field: str, value: object) -> object:
    """A changed value as messages show it."""
    if field in _STRUCTS:
        found = value if isinstance(value, dict) else None if field == "related" else {}
        return go_struct(_STRUCTS[field], found)
    if value is None:
        return None if field.endswith(("Time", "Timestamp")) else ""
    return value


def _series(event: Object) -> list[FieldError]:
    series = event.get("series")
    if series is None:
        return []
    causes: list[FieldError] = []
    if (series.get("count") or 0) < 2:
        causes.append(invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        causes.append(required("series.lastObservedTime"))
    return causes


def _legacy(event: Object, strict: bool) -> list[FieldError]:
    """An event lies in the namespace of what it is about; of things without one, in default."""
    namespace = event["metadata"].get("namespace") or ""
    about = (event.get("involvedObject") or {}).get("namespace") or ""
    misplaced = [invalid("involvedObject.namespace", about, "does not match event.namespace")]
    causes: list[FieldError] = []
    if not event.get("eventTime"):
        if namespace != about and (about or namespace not in ("", "default")):
            causes += misplaced
    else:
        if not about and namespace not in ("default", "kube-system"):
            causes += misplaced
        reporter = event.get("reportingComponent") or ""
        at = "reportingController" if strict else "reportingComponent"
        causes += [] if reporter else [required(at)]
        causes += named(at, reporter, names.qualified_name)
        for field in ("reportingInstance", "action", "reason"):
            text = event.get(field) or ""
            causes += [] if text else [required(field)]
            causes += _at_most(field, text, _TEXT_LIMIT)
        causes += _at_most("message", event.get("message") or "", _NOTE_LIMIT)
    return causes + named("namespace", namespace, names.dns1123_subdomain)


def _at_most(field: str, text: str, limit: int) -> list[FieldError]:
    return [invalid(field, "", f"can have at most {limit} characters")] if len(text.encode()) > limit else []
