"""Files that configure a server: YAML of one kind, in upstream's form, read and refused as upstream does.

What such a file may hold is told by a :class:`Struct`; what comes out has only fields of it, of their types, and
none that is null, so that readers need not ask again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.codec import yamltext

log = logging.getLogger(__name__)


class ConfigurationError(ValueError):
    """The file is no configuration of its kind; the text says where and why, and shows nothing that is secret."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a truth or a number; ``name`` is that of its type, as upstream's messages have it."""

    type: type
    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Scalar | Struct

    @property
    def name(self) -> str:
        return f"[]{self.item.name}"


@dataclass(frozen=True, slots=True)
class Struct:
    """What an object may hold; ``name`` is that of its type, as upstream's messages have it."""

    name: str
    fields: Mapping[str, Shape]


Shape = Scalar | ListOf | Struct | None
"""None: anything."""
STRING, BOOL, INT = Scalar(str, "string"), Scalar(bool, "bool"), Scalar(int, "int32")
STRINGS = ListOf(STRING)
_KINDS = {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}


def read_configuration(text: str, kind: str, versions: Sequence[str], shape: Struct, *, strict: bool = True) -> Object:
    """The content of a file of this kind, in one of these versions. Raises ConfigurationError.

    Where it is not ``strict``, fields that nobody knows are told of and left out.
    """
    try:
        found = yamltext.loads(text)
    except yamltext.YAMLError as error:
        raise ConfigurationError(str(error)) from None
    _check_kind(text, found, kind, versions)
    reader = _Reader()
    content: Object = reader.struct(found, shape, "", ())
    if reader.mistyped:
        raise ConfigurationError(reader.mistyped[0])
    if unknown := [*yamltext.strict_errors(text), *reader.unknown]:
        if strict:
            raise ConfigurationError(f"strict decoding error: {', '.join(unknown)}")
        log.warning("the %s has errors, which are passed over: %s", kind, ", ".join(unknown))
    return content


def refuse(mistakes: Iterable[FieldError]) -> None:
    """Raises ConfigurationError where there are any; each line of its text is one."""
    if lines := [f"{each.field}: {each.message}" for each in mistakes]:
        raise ConfigurationError("\n".join(lines))


def mistyped(value: Any, wanted: str, place: str = "value") -> str:
    """Why a value of JSON is none of a type, as upstream's reader says."""
    return f"json: cannot unmarshal {_KINDS[type(value)]} into Go {place} of type {wanted}"


def _check_kind(text: str, found: Any, kind: str, versions: Sequence[str]) -> None:
    if not isinstance(found, dict | None):
        raise ConfigurationError(f"it is no {kind}, but {_KINDS[type(found)]}")
    said, version = ((found or {}).get(name) or "" for name in ("kind", "apiVersion"))
    if not said:
        raise ConfigurationError(f"Object 'Kind' is missing in '{text}'" if len(text) < 200 else "no kind is said")
    if said != kind or version not in versions:
        raise ConfigurationError(f"no kind {json.dumps(said)} is registered for version {json.dumps(version)}")


class _Reader:
    """Takes what fits, and notes what does not."""

    def __init__(self) -> None:
        self.mistyped: list[str] = []
        self.unknown: list[str] = []

    def struct(self, value: Object, shape: Struct, at: str, path: tuple[str, ...]) -> Object:
        """``at`` is the place as it is shown of unknown fields, ``path`` the names of fields that lead there."""
        return dict(self._fields(value, shape, at, path))

    def _fields(self, value: Object, shape: Struct, at: str, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, item in sorted(value.items()):
            here = f"{at}.{name}" if at else name
            if name not in shape.fields:
                self.unknown.append(f'unknown field "{here}"')
            elif item is not None:
                yield name, self._value(item, shape.fields[name], here, (*path, name), shape)

    def _value(self, value: Any, shape: Shape, at: str, path: tuple[str, ...], holder: Struct) -> Any:
        if isinstance(shape, Struct) and isinstance(value, dict | None):
            return self.struct(value or {}, shape, at, path)
        if isinstance(shape, ListOf) and isinstance(value, list):
            items = enumerate(value)
            return [self._value(item, shape.item, f"{at}[{index}]", path, holder) for index, item in items]
        if isinstance(shape, Scalar) and type(value) in (shape.type, type(None)):
            return shape.type() if value is None else value
        if shape is not None:
            field = f"{holder.name.removeprefix('v1.')}.{'.'.join(path)}"
            self.mistyped.append(mistyped(value, shape.name, f"struct field {field}"))
        return value
