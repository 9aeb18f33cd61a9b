"""Get and list, from memory alone."""

from __future__ import annotations

from aiohttp import web

from shim.api.status import internal, not_found
from shim.server.facets import Facet
from shim.server.listing import ListWriter
from shim.server.negotiation import AS_STORED, JSON
from shim.server.options import ListOptions, version_of_get
from shim.server.pages import catch_up, select
from shim.server.parts import Call
from shim.server.render import render_one
from shim.server.responses import respond, respond_pieces


async def get(call: Call, facet: Facet | None = None) -> web.Response:
    """One object, or one facet of it (its scale, say)."""
    parts, resource = call.parts, call.resource
    shape = call.rendering  # what cannot be written is refused before it is looked for
    if call.query and (asked := version_of_get(call.query)):
        await catch_up(call, asked)
    entry = parts.cache.get(call.key)
    if entry is None:
        raise not_found(resource.group, resource.name, call.info.name)
    if resource.converter is not None:
        await parts.registry.ready(resource, [entry])
    if facet is not None and facet.show is not None:
        obj = parts.registry.read(resource, entry)
        paths = resource.strategy.scale_paths
        if paths and paths.at(obj, paths.replicas) is None:
            raise internal(f'the spec replicas field ".{".".join(paths.replicas)}" does not exist')
        shown = facet.show(resource, obj)
        body, media = render_one(call, shown, own_kind=False, columns=facet.columns)
        return respond(body, 200, media)
    data = parts.registry.shown(resource, entry)
    body, media = (data, JSON) if shape is AS_STORED or shape.plain else render_one(call, data)
    return respond(body, 200, media)


async def list_(call: Call) -> web.StreamResponse:
    """A collection, or a page of it."""
    writer = ListWriter(call)  # what cannot be written is refused before it is looked for
    entries, meta = await select(call, ListOptions.of(call.query))
    if call.resource.converter is not None:
        await call.parts.registry.ready(call.resource, entries)
    return await respond_pieces(call.http, writer.pieces(entries, meta), writer.media)
