"""The query parameters of every verb: read, checked and refused as upstream does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from shim.api.duration import parse_duration
from shim.api.gotext import go_quoted
from shim.api.meta import Object
from shim.api.status import ApiError, FieldError, bad_request, invalid

Query = Mapping[str, Sequence[str]]
EXACT, NOT_OLDER = "Exact", "NotOlderThan"
_INT64 = 1 << 63
NO_QUERY: Query = {}


def parse_query(text: str) -> Query:
    return parse_qs(text, keep_blank_values=True) if text else NO_QUERY


def first(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


@dataclass(slots=True)
class ListOptions:
    """Of list, watch and deletecollection."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    token: str = ""
    revision: int | None = None  # None: the newest
    match: str = ""
    watch: bool = False
    bookmarks: bool = False
    timeout: int | None = None
    initial_events: bool | None = None
    contradicting: bool = False
    """A version is named beside a token, which has one; it is not even read."""

    @classmethod
    def of(cls, query: Query, *, watch: bool = False) -> ListOptions:
        """Raises 400 and 422 as upstream's ValidateListOptions."""
        if not query:
            return cls(watch=watch, initial_events=watch or None)
        options = cls(
            label_selector=first(query, "labelSelector"),
            field_selector=first(query, "fieldSelector"),
            limit=integer(query, "limit") or 0,
            token=first(query, "continue"),
            match=first(query, "resourceVersionMatch"),
            watch=watch,
            bookmarks=boolean(query, "allowWatchBookmarks") or False,
            timeout=integer(query, "timeoutSeconds"),
            initial_events=boolean(query, "sendInitialEvents"),
        )
        text = first(query, "resourceVersion")
        (_check_watch if watch else _check_list)(options, text)
        if text == "0" and not watch:
            options.limit = 0  # upstream's cache gives whoever takes any version all there is
        if options.token and not watch:
            options.contradicting = text not in ("", "0")
        elif text:
            options.revision = _revision(text, plainly=watch)
        if watch and options.initial_events is None:
            options.initial_events = not options.revision
        return options


@dataclass(slots=True)
class WriteOptions:
    """Of create, update and patch."""

    dry_run: bool = False
    manager: str = ""
    validation: str = "Warn"
    force: bool | None = None
    asked: bool = False
    """Whether the client has said how fields are to be validated."""

    @classmethod
    def of(cls, query: Query, kind: str, *, apply: bool = False) -> WriteOptions:
        """``kind`` is CreateOptions, UpdateOptions or PatchOptions. Raises 422."""
        if not query and not apply:
            return cls()
        options = cls(manager=first(query, "fieldManager"))
        causes = []
        if kind == "PatchOptions":
            options.force = boolean(query, "force")
            if apply and not options.manager:
                causes.append(_required("fieldManager", "is required for apply patch"))
            if not apply and options.force is not None:
                causes.append(_forbidden("force", "may not be specified for non-apply patch"))
        causes += _check_manager(options.manager)
        causes += check_dry_run(query.get("dryRun", ()))
        if (validation := first(query, "fieldValidation")) not in ("", "Ignore", "Strict", "Warn"):
            causes.append(unsupported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
        if causes:
            raise invalid("meta.k8s.io", kind, "", causes)
        options.dry_run = "All" in query.get("dryRun", ())
        options.validation = validation or "Warn"
        options.asked = bool(validation)
        return options

    def wire(self, kind: str) -> Object:
        """These options as an object: what admission webhooks are shown."""
        said: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if self.dry_run:
            said["dryRun"] = ["All"]
        if self.manager:
            said["fieldManager"] = self.manager
        if self.asked:
            said["fieldValidation"] = self.validation
        return said


def version_of_get(query: Query) -> int | None:
    """The ``resourceVersion`` of a get, the only option it has. Raises 500, as upstream."""
    text = first(query, "resourceVersion")
    return _revision(text, plainly=True) if text else None


def integer(query: Query, name: str) -> int | None:
    """A 64-bit integer, or None when absent. Raises 400 in Go's words."""
    if name not in query:
        return None
    text = first(query, name)
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise bad_request(f"strconv.ParseInt: parsing {json.dumps(text)}: invalid syntax")
    if len(digits) > 4000 or not -_INT64 <= int(text) < _INT64:  # Python reads no number of more digits than 4,300
        raise bad_request(f"strconv.ParseInt: parsing {json.dumps(text)}: value out of range")
    return int(text)


def boolean(query: Query, name: str) -> bool | None:
    """As upstream converts query parameters: present and not ``false`` or ``0`` is true."""
    values = query.get(name)
    if not values:
        return None
    return values[0] != "0" and values[0].lower() != "false"


def time_limit(query: Query, most: float) -> float:
    """How long a request may take: as its ``timeout`` says, which Go's clients send, but not longer. Raises 400."""
    text = first(query, "timeout")
    if not text:
        return most
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise bad_request(f"invalid timeout specified in the request URL - {error}") from None
    return seconds if 0 < seconds < most else most


def is_watch(query: Query) -> bool:
    return bool(boolean(query, "watch"))


def _revision(text: str, *, plainly: bool) -> int:
    if text.isascii() and text.isdigit() and len(text) < 100 and int(text) < 1 << 64:
        return int(text)
    why = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
    message = (
        f"resourceVersion: Invalid value: {json.dumps(text)}: strconv.ParseUint: parsing {json.dumps(text)}: {why}"
    )
    if plainly:
        raise ApiError(500, "", message)
    raise bad_request(f"invalid resource version: {message}")


def _check_list(options: ListOptions, revision: str) -> None:
    causes = []
    if match := options.match:
        if not revision:
            text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(_forbidden("resourceVersionMatch", text))
        if options.token:
            text = "resourceVersionMatch is forbidden when continue is provided"
            causes.append(_forbidden("resourceVersionMatch", text))
        if match not in (EXACT, NOT_OLDER):
            causes.append(unsupported("resourceVersionMatch", match, (EXACT, NOT_OLDER, "")))
        if match == EXACT and revision == "0":
            text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            causes.append(_forbidden("resourceVersionMatch", text))
    if options.initial_events is not None:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    _refuse(causes)


def _check_watch(options: ListOptions, revision: str) -> None:
    causes = []
    match = options.match
    if options.initial_events is not None and match != NOT_OLDER:
        text = f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}"
        causes.append(_forbidden("resourceVersionMatch", text))
    if match:
        if options.initial_events is None:
            text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            causes.append(_forbidden("resourceVersionMatch", text))
        if match != NOT_OLDER:
            causes.append(unsupported("resourceVersionMatch", match, (NOT_OLDER,)))
    as_it_is = options.initial_events is None and revision in ("", "0")  # upstream then sets both options itself
    if options.token and (match or as_it_is):
        text = "resourceVersionMatch is forbidden when continue is provided"
        causes.append(_forbidden("resourceVersionMatch", text))
    _refuse(causes)


def _refuse(causes: list[FieldError]) -> None:
    if causes:
        raise invalid("meta.k8s.io", "ListOptions", "", causes)


def _check_manager(name: str) -> list[FieldError]:
    if len(name.encode()) > 128:
        return [FieldError("FieldValueTooLong", "fieldManager", "Too long: may not be more than 128 bytes")]
    for at, char in enumerate(name):
        if not char.isprintable():
            text = f"invalid character U+{ord(char):04X} (at position {len(name[:at].encode())})"
            return [FieldError("FieldValueInvalid", "fieldManager", f"Invalid value: {go_quoted(name)}: {text}")]
    return []


def check_dry_run(values: Iterable[Any]) -> list[FieldError]:
    values = list(values)
    return [unsupported("dryRun", values, ("All",))] if any(value != "All" for value in values) else []


def _forbidden(name: str, text: str) -> FieldError:
    return FieldError("FieldValueForbidden", name, f"Forbidden: {text}")


def _required(name: str, text: str) -> FieldError:
    return FieldError("FieldValueRequired", name, f"Required value: {text}")


def unsupported(name: str, value: Any, supported: Iterable[str]) -> FieldError:
    shown = json.dumps(value, separators=(",", ":"))
    texts = ", ".join(json.dumps(text) for text in supported)
    return FieldError("FieldValueNotSupported", name, f"Unsupported value: {shown}: supported values: {texts}")
