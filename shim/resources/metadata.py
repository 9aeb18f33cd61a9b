"""What every object's metadata must look like, and what of it an update may not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shim.api import names
from shim.api.meta import Object, split_api_version
from shim.api.status import FieldError
from shim.resources.causes import IMMUTABLE, forbidden, invalid, labels, named, not_negative, required, too_long

NameRule = Callable[[str], list[str]]

ANNOTATIONS_LIMIT = 256 * 1024
_OF_MANAGERS = {"manager": 128, "subresource": 256}
"""Bytes of what tells who has set fields."""
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def path_segment(name: str) -> list[str]:
    """Names that only have to be usable in a URL: roles, bindings, events."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in name]


def validate(obj: Object, rule: NameRule, *, any_finalizer: bool = False, any_prefix: bool = False) -> list[FieldError]:
    """The metadata of an object about to be created, its name already generated.

    ``any_finalizer``: of custom resources, their definitions and a few kinds more, whose finalizers need no domain.
    ``any_prefix``: of the few kinds that look only at the name that came of it.
    """
    metadata = obj["metadata"]
    causes = _whole(metadata, rule, _common(metadata), any_prefix=any_prefix)
    return causes if any_finalizer else [*causes, *_known_finalizers(metadata)]


def validate_update(new: Object, old: Object, *, any_finalizer: bool = False) -> list[FieldError]:
    """The metadata of an object about to be replaced."""
    metadata = new["metadata"]
    causes = _change(metadata, old["metadata"], _common(metadata))
    return causes if any_finalizer else [*causes, *_known_finalizers(metadata)]


_IN_NO_TEMPLATE = {
    # what the server itself gives to what is made of a template, by the names upstream's complaints have
    **{field: field for field in ("name", "generateName", "namespace", "selfLink")},
    "uid": "uID",
    **{field: field for field in ("resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")},
    **{field: field for field in ("deletionGracePeriodSeconds", "ownerReferences", "finalizers", "managedFields")},
}


def validate_template(at: str, metadata: Object) -> list[FieldError]:
    """The metadata of a template of claims, which gives them labels and annotations and nothing else."""
    causes: list[FieldError] = []
    for key in metadata.get("annotations") or ():
        causes += [invalid(f"{at}.annotations", key, text) for text in names.label_key(key.lower())]
    causes += labels(f"{at}.labels", metadata.get("labels"))
    return causes + [
        forbidden(f"{at}.{told}", "cannot be set")
        for field, told in _IN_NO_TEMPLATE.items()
        if metadata.get(field) is not None
    ]


def validate_any(obj: Object) -> list[FieldError]:
    """What is asked of every object about to be created, after its kind's own rules found nothing."""
    return _whole(obj["metadata"], path_segment, _common(obj["metadata"]))


def before_update(new: Object, old: Object) -> list[FieldError]:
    """What is asked of the metadata of every kind before its own rules, which mostly ask the same again.

    Upstream tells every complaint as often as it finds it, so what is wrong with a label may stand in a Status four
    times.
    """
    now, before = new["metadata"], old["metadata"]
    common = _common(now)
    return [*_whole(now, path_segment, common), *_change(now, before, common)]


def may_still_be_wrong(new: Object, old: Object) -> bool:
    """Whether an update changes what only the kind's own rules look at: prefixes of names, names of finalizers."""
    now, before = new["metadata"], old["metadata"]
    return any(now.get(field) != before.get(field) for field in ("generateName", "finalizers"))


def _whole(metadata: Object, rule: NameRule, common: list[FieldError], *, any_prefix: bool = False) -> list[FieldError]:
    causes: list[FieldError] = []
    generate = metadata.get("generateName")
    if generate and not any_prefix:
        causes += [
            invalid("metadata.generateName", generate, text) for text in rule(names.mask_trailing_dash(generate))
        ]
    name = metadata.get("name")
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        causes += named("metadata.name", name, rule)
    causes += not_negative("metadata.generation", metadata.get("generation"))
    causes += common
    finalizers = metadata.get("finalizers")
    if finalizers:
        for finalizer in finalizers:
            causes += named("metadata.finalizers", finalizer, names.qualified_name)
        if "orphan" in finalizers and "foregroundDeletion" in finalizers:
            text = "finalizer orphan and foregroundDeletion cannot be both set"
            causes.append(invalid("metadata.finalizers", finalizers, text))
    return causes


def _known_finalizers(metadata: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        causes += known_finalizer(f"metadata.finalizers[{index}]", finalizer)
    return causes


def known_finalizer(at: str, finalizer: str) -> list[FieldError]:
    """Names without a domain are the cluster's own."""
    if "/" in finalizer or finalizer in _STANDARD_FINALIZERS:
        return []
    return [invalid(at, finalizer, "name is neither a standard finalizer name nor is it fully qualified")]


def _change(now: Object, before: Object, common: list[FieldError]) -> list[FieldError]:
    causes: list[FieldError] = []
    if before.get("deletionTimestamp"):
        added = sorted(set(now.get("finalizers") or ()) - set(before.get("finalizers") or ()))
        if added:
            found = ", ".join(f'"{name}"' for name in added)
            text = "no new finalizers can be added if the object is being deleted, found new finalizers "
            causes.append(forbidden("metadata.finalizers", f"{text}[]string{{{found}}}"))
    if not now.get("resourceVersion"):
        causes.append(invalid("metadata.resourceVersion", "", "must be specified for an update"))
    if (now.get("generation") or 0) < (before.get("generation") or 0):
        causes.append(invalid("metadata.generation", now.get("generation") or 0, "must not be decremented"))
    for field in _IMMUTABLE:
        if now.get(field) != before.get(field):
            causes.append(invalid(f"metadata.{field}", now.get(field) or "", IMMUTABLE))
    return causes + common


def _common(metadata: Object) -> list[FieldError]:
    """What is asked of created and of replaced objects alike: the dear part, so asked once."""
    causes: list[FieldError] = []
    found = metadata.get("labels")
    if found:
        for key, value in found.items():
            causes += named("metadata.labels", key, names.label_key)
            causes += named("metadata.labels", value, names.label_value)
    annotations = metadata.get("annotations")
    if annotations:
        for key in annotations:
            causes += [invalid("metadata.annotations", key, text) for text in names.label_key(key.lower())]
        if sum(len(key) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
            causes.append(too_long("metadata.annotations", ANNOTATIONS_LIMIT))
    owners = metadata.get("ownerReferences")
    if owners:
        causes += _owners(owners)
    for index, entry in enumerate(metadata.get("managedFields") or ()):
        for field, limit in _OF_MANAGERS.items():
            if len((entry.get(field) or "").encode()) > limit:
                causes.append(too_long(f"metadata.managedFields[{index}].{field}", limit))
    return causes


def _owners(owners: list[dict[str, Any]]) -> list[FieldError]:
    causes: list[FieldError] = []
    at, controller = "metadata.ownerReferences", ""
    for owner in owners:
        if not split_api_version(owner.get("apiVersion") or "")[1]:
            causes.append(invalid(f"{at}.apiVersion", owner.get("apiVersion") or "", "version must not be empty"))
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                causes.append(invalid(f"{at}.{field}", "", "must not be empty"))
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            causes.append(invalid(at, _printed(owner), "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            this = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                text = 'Only one reference can have Controller set to true. Found "true" in references for'
                causes.append(invalid(at, [*map(_printed, owners)], f"{text} {controller} and {this}"))
            else:
                controller = this
    return causes


_OWNER = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")


def _printed(owner: dict[str, Any]) -> Object:
    """An owner as Go prints it: in the order of the struct."""
    return {field: owner[field] for field in _OWNER if field in owner}
