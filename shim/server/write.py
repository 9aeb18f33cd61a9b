"""Create, update, patch and delete as HTTP asks for them: bodies and options in, objects or Status out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import orjson
from aiohttp import web

from shim.api import scale_fields
from shim.api.apply import manager_of, update_managed_fields
from shim.api.meta import Object
from shim.api.status import ApiError, not_found
from shim.resources.strategy import Resource
from shim.server import deletions, device_access, errors, escalation, patches
from shim.server.bodies import Body, definition_of, read_body
from shim.server.deletions import DeleteOptions
from shim.server.facets import Facet
from shim.server.intent import Side, Write
from shim.server.listing import ListWriter
from shim.server.object_metadata import check_named, drop_second_owners, match_namespace
from shim.server.options import EXACT, ListOptions, WriteOptions
from shim.server.pages import select
from shim.server.parts import Call
from shim.server.patched import Patch, decode
from shim.server.removal import SHOWS_OBJECT
from shim.server.render import render_one
from shim.server.responses import respond, respond_pieces
from shim.server.stored_form import versioned
from shim.server.turns import is_large, taking_turns


def write_of(call: Call, options: WriteOptions | None = None, kind: str = "") -> Write:
    """The write a request asks for."""
    info = call.info
    namespace = info.namespace if call.resource.namespaced else ""
    write = Write(
        call.resource, namespace, info.name, call.user, info.subresource, warnings=call.warnings, odd=call.odd
    )
    if options is not None:
        write.dry_run = options.dry_run
        write.options = options.wire(kind)
        write.manager = manager_of(options.manager, call.http.headers.get("User-Agent", ""))
    if call.record is not None:
        write.annotations = call.record.annotations
    return write


async def create(call: Call) -> web.Response:
    """POST to a collection."""
    options = WriteOptions.of(call.query, "CreateOptions")
    body = await read_body(call)
    write = write_of(call, options, "CreateOptions")
    write.large = is_large(call.resource, body.data)

    def read() -> Object:
        obj = body.decode(call, call.resource.kind, call.resource.api_version, options, odd=call.odd)
        return _stored(call.resource, obj)

    obj = await taking_turns(write.large, read)
    drop_second_owners(obj["metadata"], call.warnings)
    if call.record is not None:
        call.record.asks(obj)
    if call.resource.group == escalation.GROUP:
        escalation.check(call, obj)
    data = await call.parts.registry.create(write, obj)
    return answer(call, data, 201)


async def update(call: Call, facet: Facet | None = None) -> web.Response:
    """PUT of an object or of one facet of it."""
    options = WriteOptions.of(call.query, "UpdateOptions")
    body = await read_body(call)
    kind, api_version = patches.kind_of(call)
    write = write_of(call, options, "UpdateOptions")
    write.large = is_large(call.resource, body.data)
    aside = facet is not None and facet.take is not None  # a scale, which is not stored

    def read() -> Object:
        obj = body.decode(call, kind, api_version, options, odd=call.odd)
        return obj if aside else _stored(call.resource, obj)

    wanted = await taking_turns(write.large, read)
    if not aside:
        drop_second_owners(wanted["metadata"], call.warnings)
        if call.record is not None:
            call.record.asks(wanted)
    if call.resource.namespaced:
        match_namespace(wanted["metadata"], write.namespace)
    check_named(call.info.name, wanted)
    write.uid = wanted["metadata"].get("uid") or ""
    if aside:
        return await _apply(call, write, facet, lambda _: wanted)
    strategy = call.resource.strategy
    encoded = orjson.dumps(wanted)
    write.spares_old = True
    create = (lambda: wanted) if strategy.allow_create_on_update and facet is None else None
    return await _apply(call, write, facet, lambda _: orjson.loads(encoded), create)


async def patch(call: Call, facet: Facet | None = None) -> web.Response:
    """PATCH of an object or of one facet of it, in any of the four ways."""
    way = patches.way_of(call)
    options = WriteOptions.of(call.query, "PatchOptions", apply=way == patches.APPLY)
    body = await read_body(call, ", ".join(patches.WAYS))
    if call.record is not None:
        call.record.asks(body.data)
    write = write_of(call, options, "UpdateOptions")  # which is what a patch comes to
    kind, api_version = patches.kind_of(call)
    resource = call.resource
    write.large = is_large(resource, body.data)
    if way == patches.APPLY:
        write.manager = ""  # applying records its manager itself
        # making an object takes the right to make one, beside that to patch
        write.may_create = partial(call.parts.authorizer.require, call.user, replace(call.info, verb="create"))
        applier = await taking_turns(write.large, partial(patches.applier, call, body, options))
        if facet is not None and facet.take is not None:
            return await _apply(call, write, facet, applier)
        create = None if facet is not None else lambda: _stored(resource, applier(None), applied=True)
        return await _apply(call, write, facet, _converted(resource, applier, applied=True), create)
    wanted = _patch_of(call, write, way, body)
    seen: list[str] = []

    def change(old: Object) -> Object:
        call.warnings[:] = seen  # a second try must not warn twice
        return decode(call, wanted, old, kind, api_version, options)

    if facet is None or facet.take is None:
        write.spares_old = not (resource.custom or resource.from_storage)  # patches share, decoding copies
        return await _apply(call, write, facet, _converted(resource, change))
    return await _apply(call, write, facet, change)


def _patch_of(call: Call, write: Write, way: str, body: Body) -> Patch:
    """What a body asks for; one that cannot be read is told of where there is something to patch. Raises 400, 404."""
    try:
        return patches.read(call, way, body)
    except ApiError:
        if call.parts.cache.get(write.key) is None:
            raise not_found(call.resource.group, call.resource.name, write.name) from None
        raise


async def delete(call: Call) -> web.Response:
    """DELETE of one object."""
    _ = call.rendering  # nothing is deleted for those who cannot be answered
    options = await _delete_options(call)
    removed = await call.parts.removal.delete(write_of(call), options)
    resource = call.resource
    if not removed.gone or (resource.group, resource.name) in SHOWS_OBJECT:
        return answer(call, removed.data, 200)
    metadata = orjson.loads(removed.data)["metadata"]
    details = {"name": metadata["name"], "group": resource.group, "kind": resource.name, "uid": metadata["uid"]}
    status = errors.success({key: value for key, value in details.items() if value})
    body, media = render_one(call, status, own_kind=False)
    return respond(body, 200, media, call.warnings)


async def delete_collection(call: Call) -> web.StreamResponse:
    """DELETE of every object that the selectors mean; answered with the list of them as they were before."""
    wanted = ListOptions.of(call.query)
    if wanted.revision and not wanted.match:
        wanted.match = EXACT  # upstream reads page by page, and a page with a version is as of that version
    options = await _delete_options(call)
    entries, meta = await select(call, wanted)
    if call.resource.converter is not None:
        await call.parts.registry.ready(call.resource, entries)
    writer = ListWriter(call)
    await call.parts.removal.delete_all(write_of(call), entries, options)
    return await respond_pieces(call.http, writer.pieces(entries, meta), writer.media, call.warnings)


async def _delete_options(call: Call) -> DeleteOptions:
    options = await deletions.asked(call)
    told = call.resource.strategy.default_propagation_warning
    if told and not options.policy:
        call.warnings.append(told)
    return options


def _stored(resource: Resource, obj: Object, *, applied: bool = False) -> Object:
    """A decoded object in the form it is stored in, with its defaults."""
    if resource.to_storage:
        obj = resource.to_storage(obj)
    if applied:
        resource.strategy.default_applied(obj)
    else:
        resource.strategy.default(obj)
    return obj


def _converted(
    resource: Resource, change: Callable[[Object], Object], *, applied: bool = False
) -> Callable[[Object], Object]:
    """A change of an object in the version it is asked in, as one of the stored form."""
    return lambda old: _stored(resource, change(versioned(resource, old)), applied=applied)


def answer(call: Call, data: bytes, status: int) -> web.Response:
    """A written object as the client wants it."""
    if call.rendering.plain:
        return respond(data, status, warnings=call.warnings)
    body, media = render_one(call, data)
    return respond(body, status, media, call.warnings)


async def _apply(
    call: Call,
    write: Write,
    facet: Facet | None,
    change: Callable[[Object], Object],
    create: Callable[[], Object] | None = None,
) -> web.Response:
    """Run a change through the registry, by way of the facet when there is one."""
    registry, strategy = call.parts.registry, call.resource.strategy
    if call.resource.group == escalation.GROUP:
        change, create = escalation.guarded(call, change), escalation.guarded_creation(call, create)
    if facet is None:
        data, created = await registry.update(write, change, create=create)
        return answer(call, data, 201 if created else 200)
    prepare, validate = facet.prepare(strategy), facet.validate(strategy)
    if (call.resource.group, call.resource.name, call.info.subresource) == device_access.STATUS:
        validate = device_access.guarded(call, validate)
    if facet.show is None or facet.take is None:
        data, _ = await registry.update(write, change, prepare=prepare, validate=validate)
        return answer(call, data, 200)
    show, take = facet.show, facet.take
    write.side = Side(partial(show, call.resource), take)

    paths = strategy.scale_paths
    path = paths.replicas if paths else ("spec", "replicas")
    manager, write.manager = write.manager, ""  # who sets the replicas is told in the scale's own terms

    def through(old: Object) -> Object:
        entries = old["metadata"].get("managedFields") or []
        scale = show(call.resource, old)
        if owned := scale_fields.to_scale(entries, path):
            scale["metadata"]["managedFields"] = owned
        new = change(scale)
        tracked = new["metadata"].get("managedFields")
        if manager:
            kind, version = patches.kind_of(call)
            definition = definition_of(call.parts.schema, kind, version)
            tracked = update_managed_fields(scale, new, definition=definition, manager=manager, subresource="scale")
        take(call.resource, new, old)
        if merged := scale_fields.to_parent(entries, tracked or (), path, call.resource.api_version):
            old["metadata"]["managedFields"] = merged
        return old

    data, _ = await registry.update(write, through, prepare=prepare, validate=validate)
    body, media = render_one(call, show(call.resource, orjson.loads(data)), own_kind=False)
    return respond(body, 200, media, call.warnings)
