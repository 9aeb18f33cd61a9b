"""Is an extension server there, and what does it serve? One look answers both."""

from __future__ import annotations

import asyncio
import hashlib

import orjson

from shim.api.meta import Object
from shim.server.aggregated import aggregated
from shim.server.aggregation.availability import PASSED, failed_discovery, obstacle
from shim.server.aggregation.extension import PATIENCE, Described, Extension, Trouble
from shim.server.aggregation.merging import Document, Part, part_of
from shim.server.openapi_v3 import of_version_two

ATTEMPTS = 5  # one of several endpoints may be broken: the others serve as well; upstream's number


async def look(extension: Extension) -> Object:
    """The condition of an extension server; what it serves is kept with it."""
    spec = extension.spec
    condition = obstacle(spec.namespace, spec.service, spec.port, extension.service(), extension.slices())
    if condition is None:
        try:
            resources = await _resources(extension)
            v2, v3 = await _openapi_v2(extension), await _openapi_v3(extension)
            converted = None
            if not v3 and v2 is not None:
                v3, converted = _converted(extension, v2)
        except Trouble as error:
            condition = failed_discovery(str(error))
        except (KeyError, TypeError, AttributeError) as error:  # whatever it answers, it must not stop us looking
            condition = failed_discovery(f"an answer of an unknown form: {type(error).__name__}: {error}")
    if condition is not None:
        extension.described = Described()
        return condition
    extension.described = Described(resources, v2, v3, converted)
    return PASSED


async def _resources(extension: Extension) -> list[Object]:
    """What is at the path of the group version, which every server must have. Raises Trouble."""
    path, until = extension.spec.path, asyncio.get_running_loop().time() + PATIENCE
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _asked(extension, path)
        except Trouble:
            if attempt == ATTEMPTS or asyncio.get_running_loop().time() > until:
                raise
    raise AssertionError("unreachable")


async def _asked(extension: Extension, path: str) -> list[Object]:
    url = extension.url(path)
    try:
        status, body, _ = await extension.fetch(path)
    except Trouble as error:
        raise Trouble(f"failing or missing response from {url}: {error}") from None
    if not 200 <= status < 300:
        raise Trouble(f"failing or missing response from {url}: bad status from {url}: {status}")
    document = _read(body)
    return aggregated(document.get("resources") or ())


async def _openapi_v2(extension: Extension) -> Part | None:
    """What its document of version 2 says of the group version; it need not have one. Raises Trouble."""
    known = extension.described.openapi_v2
    status, body, tag = await extension.fetch("/openapi/v2", known.tag if known else "")
    if status == 304:
        return known
    return part_of(_read(body), extension.spec.path, tag) if status == 200 else None


async def _openapi_v3(extension: Extension) -> str:
    """Where its document of version 3 is; empty when it has none. Raises Trouble."""
    status, body, _ = await extension.fetch("/openapi/v3")
    found = (_read(body).get("paths") or {}).get(extension.spec.path.lstrip("/")) if status == 200 else None
    return str(found["serverRelativeURL"]) if found else ""


def _converted(extension: Extension, part: Part) -> tuple[str, Document]:
    """Our document of version 3 for a server that has none, and where it is."""
    before = extension.described
    if before.converted is not None and before.openapi_v2 is part:
        return before.openapi_v3, before.converted
    document = of_version_two({**part.about, "paths": part.paths, "definitions": part.definitions})
    digest = hashlib.sha256(orjson.dumps(document)).hexdigest().upper()
    return f"/openapi/v3{extension.spec.path}?hash={digest}", document


def _read(body: bytes) -> Object:
    """An answer that is an object. Raises Trouble."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Trouble(f"couldn't get version/kind; json parse error: {error}") from None
    return document if isinstance(document, dict) else {}
