"""Where do the facts of the API come from? Upstream's OpenAPI from a dependency, Go's view of it from ``fields.json``.

The PyPI package ``kubernetes-validate`` ships upstream's OpenAPI definitions with every ``x-kubernetes-*`` key, as
JSON schema. It is found without importing it (its code imports much) and read back into what upstream publishes:
a type is a name, not a list with ``null``, and references start with ``#/definitions/``.

``enums.json`` holds which values string fields may have, by definition and field, which that package leaves out.

``fields.json`` holds, for every GA message of Kubernetes v1.36, ``name number type flags`` of its fields, in Go's
order. Protobuf field numbers are published in upstream's ``generated.proto`` files and never change; types and
flags are those of the Go structs' tags: ``*`` a pointer (an explicit zero is kept), ``[]``, ``map:``, ``=`` the
name Go prints for a named type, ``o`` omitempty, ``z`` omitzero, ``i`` inlined. A new version adds lines.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from shim.api.schema import FieldFacts, Schema
from shim.api.version import MAJOR, MINOR

_PREFIX = "io.k8s."


def load() -> dict[str, Any]:
    """OpenAPI definitions by name, as in upstream's ``/openapi/v2``. A fresh copy: 10 ms, so keep it."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package kubernetes-validate, which holds the API's schemas, is not installed")
    version = f"v{MAJOR}.{MINOR}.0-local"
    path = Path(spec.origin).parent / "kubernetes-json-schema" / version / "_definitions.json"
    data = path.read_bytes().replace(b'"#/$defs/', b'"#/definitions/')
    data = re.sub(rb'\[\s*("[a-z]+"),\s*"null"\s*\]', rb"\1", data)
    definitions: dict[str, Any] = orjson.loads(data)["$defs"]
    for definition in definitions.values():
        for field in ("apiVersion", "kind"):  # upstream has no enum there
            (definition.get("properties") or {}).get(field, {}).pop("enum", None)
    return definitions


def choices() -> dict[str, dict[str, list[str]]]:
    """Which values string fields may have: by definition and field."""
    found: dict[str, dict[str, list[str]]] = orjson.loads((Path(__file__).parent / "enums.json").read_bytes())
    return {_PREFIX + name: fields for name, fields in found.items()}


class _Facts(Mapping[str, list[FieldFacts]]):
    """``fields.json``, each message parsed when it is first asked for."""

    def __init__(self, data: bytes) -> None:
        self._rows: dict[str, list[str]] = {_PREFIX + name: rows for name, rows in orjson.loads(data).items()}
        self._parsed: dict[str, list[FieldFacts]] = {}

    def __getitem__(self, name: str) -> list[FieldFacts]:
        parsed = self._parsed.get(name)
        if parsed is None:
            parsed = self._parsed[name] = [_parse(row) for row in self._rows[name]]
        return parsed

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _parse(row: str) -> FieldFacts:
    name, number, type, flags = [*row.split(" "), ""][:4]
    base = type.lstrip("*[]").removeprefix("map:").lstrip("*[]")
    if "." in base.partition("=")[0]:  # a message
        type = type[: len(type) - len(base)] + _PREFIX + base
    return FieldFacts(name, int(number), type, flags)


@lru_cache(maxsize=1)
def load_schema() -> Schema:
    """The schema of the whole API; every caller in a process shares it."""
    facts = _Facts((Path(__file__).parent / "fields.json").read_bytes())
    return Schema(load(), facts)
