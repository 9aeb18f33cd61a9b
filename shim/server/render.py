"""Stored objects become what the client asked for: as they are, rows of a Table, metadata alone, another format.

The common case copies bytes. Everything else decodes, converts and encodes per answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from shim.api.meta import Object
from shim.api.schema import Schema
from shim.api.status import ApiError
from shim.codec import media
from shim.resources.columns.common import AGE, NAME, description
from shim.resources.strategy import Column, Resource
from shim.server import errors
from shim.server.negotiation import ACCEPTED, JSON, PROTOBUF, Rendering, streamed
from shim.server.parts import Call
from shim.store.cache import Entry, Event
from shim.store.entry import EventType

META_GROUP = "meta.k8s.io"
BY_NAME_AND_AGE = (NAME, AGE)
"""How a kind without columns of its own is shown."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
PARTIAL = "PartialObjectMetadata"


def render_one(
    call: Call, obj: bytes | Object, *, own_kind: bool = True, columns: Sequence[Column] = ()
) -> tuple[bytes, str]:
    """One object, stored or just made, and its content type.

    ``own_kind``: it is of the resource's own kind; ``columns``: of the kind that it is of instead.
    """
    rendering = call.rendering
    if rendering.plain:
        return (obj if isinstance(obj, bytes) else orjson.dumps(obj)), JSON
    document: Object = orjson.loads(obj) if isinstance(obj, bytes) else obj
    if rendering.form and (own_kind or columns):
        if rendering.form == "Table":
            meta = _list_meta(document["metadata"].get("resourceVersion", ""))
            document = table(call, [document], meta, shape=columns)
        elif rendering.form == PARTIAL:
            document = partial(document, rendering.version)
        else:
            raise errors.only_for_lists(go_type(call.resource))
    return _encode(rendering.media, document, call.parts.schema), rendering.media


def go_type(resource: Resource) -> str:
    """What upstream calls one of these inside."""
    return "unstructured.Unstructured" if resource.custom else errors.internal_type(resource.group, resource.kind)


def check_protobuf(call: Call, api_version: str, kind: str) -> None:
    """Custom resources have no protobuf form. Raises 406."""
    if not media.protobuf(call.parts.schema).supports(api_version, kind):
        raise errors.no_such_rendering(ACCEPTED)


def _encode(wanted: str, document: Object, schema: Schema) -> bytes:
    try:
        return media.encode(wanted, document, schema)
    except media.NoSuchForm:  # custom resources have no protobuf form
        raise errors.no_such_rendering(ACCEPTED) from None


def _list_meta(revision: str) -> Object:
    return {"resourceVersion": revision} if revision else {}


def partial(obj: Object, version: str) -> Object:
    """The object's metadata alone."""
    return {"kind": PARTIAL, "apiVersion": f"{META_GROUP}/{version}", "metadata": obj["metadata"]}


def table(
    call: Call, objects: Iterable[Object], meta: Object, *, columns: bool = True, shape: Sequence[Column] = ()
) -> Object:
    """Objects as rows of the columns their kind is printed with, ``shape`` if it is not the resource's. Raises 400."""
    shape = shape or call.resource.columns or BY_NAME_AND_AGE
    return {
        "kind": "Table",
        "apiVersion": f"{META_GROUP}/{call.rendering.version}",
        "metadata": meta,
        "columnDefinitions": _head(shape, call.parts.schema) if columns else None,
        "rows": rows(call, objects, shape),
    }


def rows(call: Call, objects: Iterable[Object], shape: Sequence[Column] = ()) -> list[Object]:
    """The rows of a Table, each with as much of its object as ``includeObject`` asks for. Raises 400."""
    shape, show = shape or call.resource.columns or BY_NAME_AND_AGE, _shown(call)
    return [{"cells": [column.cell(obj) for column in shape], "object": show(call, obj)} for obj in objects]


def _shown(call: Call) -> Callable[[Call, Object], Object | None]:
    """What rows show of their objects. Raises 400."""
    include = call.value("includeObject") or "Metadata"
    if include not in _SHOWN:
        raise errors.no_such_include(include)
    return _SHOWN[include]


def _metadata(call: Call, obj: Object) -> Object:
    return partial(obj, call.rendering.version) | {"metadata": call.resource.strategy.shown_in_table(obj["metadata"])}


_SHOWN: dict[str, Callable[[Call, Object], Object | None]] = {
    "Metadata": _metadata,
    "Object": lambda call, obj: obj,
    "None": lambda call, obj: None,
}


def _head(shape: Iterable[Column], schema: Schema) -> list[dict[str, Any]]:
    """The head of a Table."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": description(column, schema.definitions),
            "priority": column.priority,
        }
        for column in shape
        if column.name
    ]


class EventWriter:
    """Writes watch events in the form and format of one watch."""

    def __init__(self, call: Call) -> None:
        """Raises 400 and 406."""
        self._call = call
        self._rendering: Rendering = streamed(call.rendering)
        resource = call.resource
        if self._rendering.form == "Table":
            table(call, [], {})
        elif self._rendering.media == PROTOBUF and not self._rendering.form:
            check_protobuf(call, resource.api_version, resource.kind)
        self._first_row = True
        self.content_type = self._rendering.media
        if self._rendering.media == PROTOBUF:
            self.content_type += ";stream=watch"
        self.line: Callable[..., bytes] = self._converted
        if self._rendering.plain and not resource.from_storage:
            self.line = self._revived if resource.revive else _line

    def added(self, entry: Entry) -> bytes:
        """An object that is there already, as an ADDED event."""
        return self.line(Event("ADDED", entry, None, entry.revision))

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """An object of the watched kind that has a revision and nothing else."""
        meta: Object = {"resourceVersion": str(revision)}
        if initial_events_end:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        resource, version = self._call.resource, self._rendering.version
        obj: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        if self._rendering.form == "Table":
            empty = {**obj, "metadata": {**meta, "name": ""}, "spec": {}, "status": {}}
            [shown] = rows(self._call, [empty])
            shown["object"] = _shown(self._call)(self._call, obj)
            obj = table(self._call, [], meta, columns=self._first_row) | {"rows": [shown]}
            self._first_row = False
        elif self._rendering.form:
            obj = partial(obj, version)
        return media.encode_event(self._rendering.media, "BOOKMARK", obj, self._call.parts.schema)

    def error(self, error: ApiError) -> bytes:
        """The last event of a watch that cannot go on."""
        return media.encode_event(self._rendering.media, "ERROR", error.status(), self._call.parts.schema)

    def _revived(self, event: Event, type: EventType | None = None) -> bytes:
        """Of a custom resource: most of what is stored is as it is shown."""
        as_is = self._call.resource.as_is(event.entry.revision, event.entry.data)
        return event.line(type) if as_is else self._converted(event, type)

    def _converted(self, event: Event, type: EventType | None = None) -> bytes:
        data, row = event.data(type), self._call.resource
        obj: Object = orjson.loads(data)
        if row.from_storage:
            obj = row.from_storage(obj)
        elif row.revive and not row.as_is(event.entry.revision, data):
            obj = row.revive(obj)
        if self._rendering.form == "Table":
            meta = _list_meta(obj["metadata"].get("resourceVersion", ""))
            obj = table(self._call, [obj], meta, columns=self._first_row)
            self._first_row = False
        elif self._rendering.form:
            obj = partial(obj, self._rendering.version)
        return media.encode_event(self._rendering.media, type or event.type, obj, self._call.parts.schema)


def _line(event: Event, type: EventType | None = None) -> bytes:
    return event.line(type)
