"""The types that OpenAPI documents (version 3) describe, for expressions about objects of the API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shim.cel import types as t
from shim.cel.types import Field, Type

_RESERVED = frozenset(
    "true false null in as break const continue else for function if import let loop package namespace return var "
    "void while".split()
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*")
_SCALARS = {"integer": t.INT, "number": t.DOUBLE, "boolean": t.BOOL}
_TEXTS = {"byte": t.BYTES, "date-time": t.TIMESTAMP, "date": t.TIMESTAMP, "duration": t.DURATION}


def escape(name: str) -> str | None:
    """A field's name as expressions write it; None where they cannot."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _NAME.fullmatch(name):
        return None
    name = name.replace("__", "__underscores__")
    for text, escaped in ((".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        name = name.replace(text, escaped)
    return name


_ESCAPE = re.compile("__([^_]+)__")
_ESCAPES = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}


def unescape(name: str) -> str | None:
    """The name of a field that is written so; None where nothing is."""
    if name[2:-2] in _RESERVED and name == f"__{name[2:-2]}__":
        return name[2:-2]
    if any(word not in _ESCAPES for word in _ESCAPE.findall(name)):
        return None
    return _ESCAPE.sub(lambda found: _ESCAPES[found[1]], name)


class Document:
    """The schemas of one document; a kind's type is made when it is asked for, and its fields' when they are."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas: Mapping[str, Any] = (document.get("components") or {}).get("schemas") or {}
        self._made: dict[str, Type | None] = {}

    def kind(self, group: str, version: str, kind: str) -> Type | None:
        """The type of a kind, or None where the document has none."""
        wanted = {"group": group, "version": version, "kind": kind}
        for name, raw in self._schemas.items():
            if wanted in raw.get("x-kubernetes-group-version-kind", ()):
                return self._named(name)
        return None

    def _named(self, name: str) -> Type | None:
        if name not in self._made:
            self._made[name] = None  # what refers to itself has its fields by then
            self._made[name] = self._type(self._schemas.get(name) or {})
        return self._made[name]

    def _type(self, raw: Mapping[str, Any]) -> Type | None:
        """None for what expressions cannot see."""
        only = raw.get("allOf")
        if only and len(only) == 1 and "$ref" in only[0]:
            raw = only[0]
        if "$ref" in raw:
            name = raw["$ref"].rpartition("/")[2]
            target = self._schemas.get(name) or {}
            if "properties" in target:
                return t.struct(name, lambda: self._fields(target))
            return self._named(name)
        if raw.get("x-kubernetes-int-or-string") or raw.get("format") == "int-or-string" or raw.get("oneOf"):
            return t.DYN
        kind = raw.get("type")
        if kind == "array":
            items = self._type(raw.get("items") or {})
            return t.list_of(items) if items else None
        if kind == "object" or "properties" in raw:
            values = raw.get("additionalProperties")
            if isinstance(values, Mapping):
                value = self._type(values)
                return t.map_of(t.STRING, value) if value else None
            return t.struct("object", lambda: self._fields(raw))
        if kind == "string":
            return _TEXTS.get(raw.get("format") or "", t.STRING)
        return _SCALARS.get(kind or "")

    def _fields(self, raw: Mapping[str, Any]) -> Mapping[str, Field]:
        fields = {}
        for name, each in (raw.get("properties") or {}).items():
            escaped, type = escape(name), self._type(each)
            if escaped and type:
                fields[escaped] = Field(type, name)
        return fields
