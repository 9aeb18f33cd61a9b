"""From a CustomResourceDefinition to what the server serves: a row of the table of resources for each version.

Nothing is judged here: only definitions that were accepted get this far.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from shim.api.decoding import Decoded
from shim.api.meta import GVR, Object
from shim.api.schema import Definition, Schema
from shim.resources.custom import defaulting
from shim.resources.custom.columns import columns
from shim.resources.custom.pruning import decode_object
from shim.resources.custom.published import publish
from shim.resources.custom.strategy import CustomStrategy
from shim.resources.custom.structure import Node, Raw
from shim.resources.strategy import Converter, Resource, ScalePaths

_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_ANYTHING: Raw = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_VERSION = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?")


@dataclass(frozen=True, slots=True)
class CustomKind:
    """One served version: its row, the definition that decodes and merges it, and what OpenAPI says of it."""

    row: Resource
    definition: Definition
    published: Mapping[str, Any]


def version_order(name: str) -> tuple[Any, ...]:
    """Sorts versions as Kubernetes prefers them: v2, v1, v1beta2, v1alpha1, then others by name."""
    match = _VERSION.fullmatch(name)
    if match is None:
        return (1, name)
    stage = {"": 0, "beta": 1, "alpha": 2}[match[2] or ""]
    return (0, stage, -int(match[1]), -int(match[3] or 0))


def stored_version(crd: Object) -> str | None:
    """The version objects are kept in; None of a definition that names none, which no server accepts any more."""
    return next((version["name"] for version in crd["spec"]["versions"] if version.get("storage")), None)


def kinds(crd: Object, schema: Schema, since: int, converter: Converter | None) -> list[CustomKind]:
    """What a definition makes the server serve. ``since``: stored objects are complete from this revision on.

    ``converter`` makes objects of other versions; without it, versions differ in nothing but their name.
    """
    spec = crd["spec"]
    accepted = (crd.get("status") or {}).get("acceptedNames") or spec["names"]
    storage = stored_version(crd)
    if storage is None:
        return []
    [there] = [_root(spec, version) for version in spec["versions"] if version["name"] == storage]
    found = []
    for version in sorted(spec["versions"], key=lambda each: version_order(each["name"])):
        if version.get("served"):
            found.append(_kind(spec, version, accepted, storage, there, schema, since, converter))
    return found


def _raw(version: Object) -> Raw:
    return (version.get("schema") or {}).get("openAPIV3Schema") or _ANYTHING


def _root(spec: Object, version: Object) -> Node:
    """The schema of a version's objects."""
    raw = _raw(version)
    return Node({**raw, "x-kubernetes-preserve-unknown-fields": True} if spec.get("preserveUnknownFields") else raw)


def _kind(
    spec: Object,
    version: Object,
    accepted: Object,
    storage: str,
    there: Node,
    schema: Schema,
    since: int,
    converter: Converter | None,
) -> CustomKind:
    group, name, kind = spec["group"], version["name"], accepted["kind"]
    api_version, plural = f"{group}/{name}", accepted["plural"]
    raw, root = _raw(version), _root(spec, version)
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale")
    selectable = tuple(each["jsonPath"] for each in version.get("selectableFields") or ())
    strategy = CustomStrategy(
        root,
        has_status="status" in subresources,
        scale=_scale_paths(scale) if scale else None,
        selectable=selectable,
    )
    list_kind = accepted.get("listKind") or f"{kind}List"
    published = publish(group, name, {"kind": kind, "listKind": list_kind, "plural": plural}, raw, selectable)
    definition_name = next(iter(published))
    definition = schema.compile(definition_name, published[definition_name])
    meta = schema.named(_OBJECT_META)
    definition.decoder = partial(_decode, root, meta)
    kept_here = name == storage
    keep = None if kept_here or converter else partial(_read, there, meta, f"{group}/{storage}", None)
    revive = (
        partial(_told, root, meta, api_version, keep) if keep else partial(_read, root, meta, api_version, converter)
    )
    row = Resource(
        plural,
        kind,
        group,
        name,
        namespaced=spec["scope"] == "Namespaced",
        short=tuple(accepted.get("shortNames") or ()),
        categories=tuple(accepted.get("categories") or ()),
        verbs=_VERBS,
        subresources=tuple(each for each in ("status", "scale") if each in subresources),
        strategy=strategy,
        columns=columns(version.get("additionalPrinterColumns") or ()),
        storage=None if kept_here else GVR(group, storage, plural, spec["scope"] == "Namespaced"),
        revive=revive,
        preserve=keep,
        converter=converter,
        custom=True,
        named=accepted.get("singular") or kind.lower(),
        list_named=list_kind,
        head=f'{{"kind":"{kind}","apiVersion":"{api_version}",'.encode(),
        since=since,
        deprecated=_deprecation(spec, version, kind),
    )
    return CustomKind(row, definition, published)


def _scale_paths(scale: Object) -> ScalePaths:
    def steps(text: str | None) -> tuple[str, ...]:
        return tuple(text.removeprefix(".").split(".")) if text else ()

    return ScalePaths(
        steps(scale["specReplicasPath"]), steps(scale["statusReplicasPath"]), steps(scale.get("labelSelectorPath"))
    )


def _deprecation(spec: Object, version: Object, kind: str) -> str:
    """What those hear who use a version that is deprecated: to use the newest one that is newer and is not."""
    if not version.get("deprecated"):
        return ""
    if told := version.get("deprecationWarning"):
        return str(told)
    group, name = spec["group"], version["name"]
    others = [each["name"] for each in spec["versions"] if each.get("served") and not each.get("deprecated")]
    instead = min((each for each in others if version_order(each) < version_order(name)), key=version_order, default="")
    return f"{group}/{name} {kind} is deprecated" + (f"; use {group}/{instead} {kind}" if instead else "")


def _decode(root: Node, meta: Definition, obj: Object) -> Decoded:
    return decode_object(root, meta, obj)


def _read(root: Node, meta: Definition, api_version: str, converter: Converter | None, obj: Object) -> Object:
    """An object in this version, as if it were written now: with defaults, without what is unknown."""
    if obj.get("apiVersion") != api_version:
        obj = converter.known(obj, api_version) if converter else {**obj, "apiVersion": api_version}
    read = decode_object(root, meta, obj).obj
    defaulting.fill(root, read)
    return _identified(obj, read)


def _told(root: Node, meta: Definition, api_version: str, keep: Callable[[Object], Object], obj: Object) -> Object:
    """An object of a version that is kept as another: what both know of it, with no defaults but the other's."""
    obj = {**keep(obj), "apiVersion": api_version}
    return _identified(obj, decode_object(root, meta, obj).obj)


def _identified(obj: Object, read: Object) -> Object:
    """What was read of an object, headed by what says which it is: that no schema judges."""
    kept = {name: obj[name] for name in ("kind", "apiVersion", "metadata")}
    return {**kept, **{name: value for name, value in read.items() if name not in kept}}
