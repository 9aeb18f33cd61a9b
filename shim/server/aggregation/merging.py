"""One OpenAPI document (version 2) out of several servers': theirs are cut to their group version, and then put in.

Pure. Two servers may mean different things by one name, as when they are built of different releases: the later's
definition is renamed, and with it all that refers to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
_DEFINITION = "#/definitions/"
_PARAMETER = "#/parameters/"


@dataclass(frozen=True, slots=True)
class Part:
    """The paths of one group version, and the definitions they need; ``tag``: the ETag of what it was cut from."""

    paths: Mapping[str, Any]
    definitions: Mapping[str, Any]
    tag: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the whole document says of itself."""


def part_of(document: Mapping[str, Any], prefix: str, tag: str = "") -> Part:
    """What a document says of paths below a prefix (``/apis/GROUP/VERSION``)."""
    shared = document.get("parameters") or {}
    paths = {
        path: _inlined(item, shared)
        for path, item in (document.get("paths") or {}).items()
        if path == prefix or path.startswith(prefix + "/")
    }
    about = {key: document[key] for key in ("info", "securityDefinitions") if key in document}
    return Part(paths, reachable(document.get("definitions") or {}, references(paths)), tag, about)


def merged(document: Document, parts: Iterable[Part]) -> Document:
    """The document with these parts; of a path that is there already, the first says what it is."""
    paths, definitions = dict(document["paths"]), dict(document["definitions"])
    for part in parts:
        names = {
            name: _free(name, definitions)
            for name, definition in part.definitions.items()
            if name in definitions and definitions[name] != definition
        }
        for name, definition in part.definitions.items():
            definitions[names.get(name, name)] = _renamed(definition, names)
        for path, item in part.paths.items():
            paths.setdefault(path, _renamed(item, names))
    return {**document, "paths": paths, "definitions": definitions}


def references(raw: Any) -> Iterator[str]:
    """The names of all definitions a schema refers to directly."""
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rpartition("/")[2]
            else:
                yield from references(value)
    elif isinstance(raw, list):
        for value in raw:
            yield from references(value)


def reachable(definitions: Mapping[str, Any], wanted: Iterable[str]) -> Document:
    """These definitions and all that they refer to, by name."""
    found: Document = {}
    queue = [name for name in wanted if name in definitions]
    while queue:
        name = queue.pop()
        if name not in found and name in definitions:
            found[name] = definitions[name]
            queue += references(found[name])
    return dict(sorted(found.items()))


def _inlined(raw: Any, shared: Mapping[str, Any]) -> Any:
    """With the parameters that a document shares among its operations where they are referred to."""
    if isinstance(raw, Mapping):
        reference = raw.get("$ref")
        if isinstance(reference, str) and reference.startswith(_PARAMETER):
            return shared.get(reference.removeprefix(_PARAMETER), raw)
        return {key: _inlined(value, shared) for key, value in raw.items()}
    return [_inlined(value, shared) for value in raw] if isinstance(raw, list) else raw


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    while f"{name}_v{number}" in taken:
        number += 1
    return f"{name}_v{number}"


def _renamed(raw: Any, names: Mapping[str, str]) -> Any:
    if not names:
        return raw
    if isinstance(raw, Mapping):
        return {
            key: _reference(value, names) if key == "$ref" else _renamed(value, names) for key, value in raw.items()
        }
    if isinstance(raw, list):
        return [_renamed(value, names) for value in raw]
    return raw


def _reference(value: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(value, str) or not value.startswith(_DEFINITION):
        return value
    name = value.removeprefix(_DEFINITION)
    return _DEFINITION + names.get(name, name)
