"""What fields does a kind have? Upstream's OpenAPI definitions, compiled to what decoding and merging ask of them.

OpenAPI says which fields there are, and how lists merge; it does not say which empty fields the server prints and
what it calls a type when it refuses one. Those facts come with the protobuf field numbers (``shim.codec.definitions``
reads both) and are missing for types that have no GA version: their fields are then kept as they are given.

Definitions are compiled when they are first asked for: a server with the whole API starts no slower than one with
a single kind. Custom resources' schemas compile the same way, see :meth:`Schema.compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from shim.api.oddities import ALPHA, TOLD, Oddity

RawSchema = Mapping[str, Any]


class FieldFacts(NamedTuple):
    """What Go knows of a field. ``type`` is ``[*][[]|map:]base[=Go's name]``; ``flags``: o omitted when empty,
    z omitted when zero (a time), i inlined: its fields stand in the parent, except in protobuf."""

    name: str
    number: int
    type: str
    flags: str


class Decoded(NamedTuple):
    """What decoding made. ``error`` is the decoder's first complaint; the object is then not to be used."""

    obj: dict[str, Any]
    unknown: list[str]
    error: str | None


Facts = Mapping[str, Sequence[FieldFacts]]

SCALARS = frozenset(("string", "bool", "int32", "int64", "float64", "bytes"))
ANY = frozenset(("Raw", "JSON", "FieldsV1", "any"))
WRAPPED = frozenset(("Time", "MicroTime", "Duration", "Quantity", "IntOrString"))
"""Types that Go has as structs and JSON as scalars."""

_FORMATS = {
    ("integer", "int32"): "int32",
    ("integer", ""): "int64",
    ("integer", "int64"): "int64",
    ("number", "double"): "float64",
    ("number", ""): "float64",
    ("boolean", ""): "bool",
    ("string", "byte"): "bytes",
}
_NAMED = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "Quantity",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "Time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "MicroTime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Duration": "Duration",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "IntOrString",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "Raw",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "FieldsV1",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "any",
}
_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value. ``kind`` is a scalar's, ``struct``, ``list``, ``map`` or one of WRAPPED and ANY."""

    kind: str
    go: str
    element: Type | None = None  # of lists and maps
    definition: Definition | None = None  # of structs
    # how lists and maps merge
    list_type: str = ""  # atomic, set, map; "" means atomic to apply, and replace to a strategic merge
    list_map_keys: tuple[str, ...] = ()
    atomic: bool = False  # a map or struct that is owned as one


class Inlined(str):
    """The name of a field that Go has in a struct within the struct; its complaints name that too."""

    __slots__ = ("within",)

    def __new__(cls, name: str, within: str) -> Inlined:
        made = super().__new__(cls, name)
        made.within = within
        return made

    within: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct."""

    name: str
    type: Type
    omit_empty: bool = False
    """Dropped when it is empty: a plain Go value with ``omitempty``, or a list, which storing in protobuf forgets."""
    always: bool = False
    """Printed even when it was not given."""
    pointer: bool = False
    zero: bool = False
    """A plain Go value without ``omitempty``: never missing, but zero."""
    patch_strategies: tuple[str, ...] = ()  # of strategic merges: merge, replace, retainKeys
    merge_key: str = ""
    odd: Oddity | None = None
    """What an empty value of this field is, if anyone is to see it before it is dropped."""
    step: str = ""
    """What complaints call it, if not by its name: see :class:`Inlined`."""


class Definition:
    """A struct: its fields by their JSON names."""

    def __init__(self, schema: Schema, name: str, raw: RawSchema) -> None:
        self._schema = schema
        self.name, self.raw = name, raw
        self.decoder: Callable[[dict[str, Any]], Decoded] | None = None
        """How an object is decoded where it is not as Go decodes its structs: custom resources are pruned instead."""
        package, _, self.struct = name.rpartition(".")
        self.go = f"{package.rpartition('.')[2]}.{self.struct}"

    def __repr__(self) -> str:
        return f"Definition({self.name})"

    @cached_property
    def fields(self) -> dict[str, Field]:
        return self._schema._fields(self)

    @cached_property
    def always(self) -> tuple[Field, ...]:
        """The fields that are printed even when they were not given."""
        return tuple(field for field in self.fields.values() if field.always)

    @cached_property
    def alpha(self) -> tuple[str, ...]:
        """The fields that belong to features which are off."""
        return ALPHA.get(self.struct, ())

    @cached_property
    def open(self) -> bool:
        """Whether fields that are not in the schema are kept (custom resources may say so)."""
        return bool(self.raw.get("x-kubernetes-preserve-unknown-fields"))

    @cached_property
    def type(self) -> Type:
        atomic = self.raw.get("x-kubernetes-map-type") == "atomic"
        return Type("struct", self.go, definition=self, atomic=atomic)


class Schema:
    """All definitions; ``definitions`` is the raw OpenAPI, name to schema, references as ``#/definitions/NAME``.

    Definitions that come and go while the server runs are those of custom resources: :meth:`publish`.
    """

    def __init__(self, definitions: dict[str, RawSchema], facts: Facts | None = None) -> None:
        self.definitions = definitions
        self._custom: dict[tuple[str, str, str], Definition] = {}
        self.facts: Facts = facts or {}
        self._compiled: dict[str, Definition] = {}

    @cached_property
    def names(self) -> dict[tuple[str, str, str], str]:
        """(group, version, kind) to the name of its definition."""
        return {
            (gvk["group"], gvk["version"], gvk["kind"]): name
            for name, raw in self.definitions.items()
            for gvk in raw.get("x-kubernetes-group-version-kind", ())
        }

    def for_kind(self, group: str, version: str, kind: str) -> Definition | None:
        """The definition of a kind, built in or custom."""
        custom = self._custom.get((group, version, kind))
        if custom is not None:
            return custom
        name = self.names.get((group, version, kind))
        return self.named(name) if name else None

    def named(self, name: str) -> Definition:
        """A definition by its OpenAPI name, ``io.k8s.api.core.v1.Pod``. Raises KeyError."""
        definition = self._compiled.get(name)
        if definition is None:
            raw = self.definitions.get(name)
            if raw is None and name not in self.facts:
                raise KeyError(name)
            definition = self._compiled[name] = Definition(self, name, raw or {})
        return definition

    def compile(self, name: str, raw: RawSchema) -> Definition:
        """A definition that is not of the API itself: a custom resource's schema."""
        return Definition(self, name, raw)

    def publish(self, kind: tuple[str, str, str], definition: Definition, raw: Mapping[str, RawSchema]) -> None:
        """Add a custom kind (group, version, kind): its definition, and what OpenAPI says of it and of its list."""
        self._custom[kind] = definition
        for name, each in raw.items():
            self.definitions[name] = each
            for gvk in each.get("x-kubernetes-group-version-kind", ()):
                self.names[gvk["group"], gvk["version"], gvk["kind"]] = name

    def withdraw(self, kind: tuple[str, str, str], names: Iterable[str]) -> None:
        """Forget a custom kind and its definitions."""
        self._custom.pop(kind, None)
        for name in names:
            raw = self.definitions.pop(name, {})
            for gvk in raw.get("x-kubernetes-group-version-kind", ()):
                self.names.pop((gvk["group"], gvk["version"], gvk["kind"]), None)

    # --- compiling ----------------------------------------------------------------------------------------------------

    def _fields(self, definition: Definition) -> dict[str, Field]:
        properties: Mapping[str, RawSchema] = definition.raw.get("properties") or {}
        fields = {name: self._field(name, raw) for name, raw in properties.items() if name in ("apiVersion", "kind")}
        if definition.name in self.facts:
            told = TOLD.get(definition.struct, ())
            for facts in self.flat(definition.name):
                fields[str(facts.name)] = self._known_field(facts, properties.get(facts.name, {}), facts.name in told)
        for name, raw in properties.items():
            if name not in fields:
                fields[name] = self._field(name, raw)
        return fields

    def flat(self, name: str) -> list[FieldFacts]:
        """A message's fields with the inlined ones in place, as JSON has them."""
        found: list[FieldFacts] = []
        for facts in self.facts[name]:
            if "i" in facts.flags:
                struct = facts.type.rpartition(".")[2]
                found += [inner._replace(name=_within(struct, inner.name)) for inner in self.flat(facts.type)]
            else:
                found.append(facts)
        return found

    def _known_field(self, facts: FieldFacts, raw: RawSchema, told: bool) -> Field:
        pointer = facts.type.startswith("*")
        type = self._with_merge(self.parse_type(facts.type.lstrip("*")), raw)
        printed = type.kind in ("list", "map") and "o" not in facts.flags
        like_struct = type.kind == "struct" or type.kind in WRAPPED or type.kind in ("Raw", "FieldsV1")
        return Field(
            str(facts.name),
            type,
            omit_empty=not pointer and ("o" in facts.flags or type.kind in ("list", "map")) and not like_struct,
            always=(not pointer and like_struct and "z" not in facts.flags) or not facts.flags,
            pointer=pointer,
            zero=not pointer and "o" not in facts.flags and type.kind in SCALARS,
            patch_strategies=_strategies(raw),
            merge_key=raw.get("x-kubernetes-patch-merge-key", ""),
            odd=Oddity.TOLD if told else Oddity.PRINTED if printed else None,
            step=facts.name if isinstance(facts.name, Inlined) else "",
        )

    def _field(self, name: str, raw: RawSchema) -> Field:
        return Field(
            name,
            self._with_merge(self._type(raw), raw),
            patch_strategies=_strategies(raw),
            merge_key=raw.get("x-kubernetes-patch-merge-key", ""),
        )

    def parse_type(self, text: str) -> Type:
        """A type as the facts write it: ``map:Quantity=v1.ResourceList``, ``[]io.k8s.api.core.v1.Container``.

        What stands behind ``=`` is Go's name of it: of a list's elements, or behind ``==`` of the list itself.
        """
        text, _, go = text.partition("=")
        if go.startswith("="):
            return Type("list", go[1:], self.parse_type(text[2:]))
        if text.startswith("[]"):
            element = self.parse_type(f"{text[2:]}={go}" if go else text[2:])
            return Type("list", f"[]{element.go}", element)
        if text.startswith("map:"):
            element = self.parse_type(f"{text[4:]}={go.partition(']')[2]}" if go.startswith("map[") else text[4:])
            return Type("map", go or f"map[string]{element.go}", element)
        if text == "bytes":
            return Type(text, go or "[]uint8")
        if text == "Strings":
            return Type("list", "v1.ExtraValue", Type("string", "string"))
        if text in SCALARS or text in ANY or text in WRAPPED:
            return Type(text, go or text)
        if text.startswith(f"{_APIEXTENSIONS}JSONSchemaPropsOr"):
            return Type("SchemaOr", text.rpartition(".")[2], self.named(f"{_APIEXTENSIONS}JSONSchemaProps").type)
        return self.named(text).type

    def _type(self, raw: RawSchema) -> Type:
        if "allOf" in raw and len(raw["allOf"]) == 1 and "$ref" in raw["allOf"][0]:
            raw = raw["allOf"][0]
        if "$ref" in raw:
            name = raw["$ref"].rpartition("/")[2]
            target = self.definitions[name]
            if name in _NAMED:
                return Type(_NAMED[name], _NAMED[name])
            if name in self.facts or "properties" in target:
                return self.named(name).type
            return Type("any", name.rpartition(".")[2])
        if raw.get("x-kubernetes-int-or-string"):
            return Type("IntOrString", "IntOrString")
        kind = raw.get("type", "")
        if raw.get("x-kubernetes-preserve-unknown-fields") and not raw.get("properties"):
            return Type("deduced", "interface {}")
        if kind == "array":
            element = self._type(raw.get("items") or {})
            return Type("list", f"[]{element.go}", element)
        if kind == "object" or "properties" in raw:
            if "properties" in raw:
                return Definition(self, raw.get("x-go-name", "object"), raw).type
            if isinstance(raw.get("additionalProperties"), Mapping):
                element = self._type(raw["additionalProperties"])
                return Type("map", f"map[string]{element.go}", element)
            return Type("any", "object")
        scalar = _FORMATS.get((kind, raw.get("format", ""))) or _FORMATS.get((kind, "")) or kind
        return Type(scalar, scalar) if scalar in SCALARS else Type("any", "interface {}")

    def _with_merge(self, type: Type, raw: RawSchema) -> Type:
        list_type = raw.get("x-kubernetes-list-type", "")
        # what a field says of itself counts more than what its type says
        map_type = raw.get("x-kubernetes-map-type") or ("atomic" if type.atomic else "")
        if not list_type and (map_type == "atomic") == type.atomic:
            return type
        keys = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        return Type(type.kind, type.go, type.element, type.definition, list_type, keys, map_type == "atomic")


def _within(struct: str, name: str) -> Inlined:
    return Inlined(name, f"{struct}.{name.within}" if isinstance(name, Inlined) else struct)


def _strategies(raw: RawSchema) -> tuple[str, ...]:
    text = raw.get("x-kubernetes-patch-strategy", "")
    return tuple(text.split(",")) if text else ()
