"""Objects that are kept nowhere, but made whenever somebody asks: how a get and a list of them are answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson
from aiohttp import web

from shim.api import selectors
from shim.api.meta import Object
from shim.api.status import bad_request, not_found
from shim.server.options import ListOptions
from shim.server.parts import Call
from shim.server.render import render_one, table
from shim.server.responses import respond


def answer(call: Call, found: Sequence[Object], called: str = "") -> web.Response:
    """The one that is named, or all that are selected. ``called``: the resource, where upstream misnames it in a 404.

    Raises 400 and 404.
    """
    row = call.resource
    if call.info.name:
        wanted = next((obj for obj in found if obj["metadata"]["name"] == call.info.name), None)
        if wanted is None:
            raise not_found(row.group, called or row.name, call.info.name)
        body, media = render_one(call, wanted)
        return respond(body, 200, media)
    found = list(_selected(found, ListOptions.of(call.query)))
    if call.rendering.form == "Table":
        return respond(orjson.dumps(table(call, found, {})))
    items = [{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")} for obj in found]
    listed = {"kind": f"{row.kind}List", "apiVersion": row.api_version, "metadata": {}, "items": items}
    body, media = render_one(call, listed, own_kind=False)
    return respond(body, 200, media)


def _selected(objects: Iterable[Object], options: ListOptions) -> Iterable[Object]:
    try:
        labels = selectors.parse(options.label_selector)
        fields = selectors.parse_fields(options.field_selector)
    except selectors.SelectorError as error:
        raise bad_request(str(error)) from error
    for obj in objects:
        metadata = obj["metadata"]
        shown = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}
        if labels.matches(metadata.get("labels") or {}) and fields.matches(shown):
            yield obj
