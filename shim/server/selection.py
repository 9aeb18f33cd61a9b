"""Which objects does a list or watch mean? Its label and field selectors as one test of a cache entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from shim.api import selectors
from shim.api.status import bad_request
from shim.resources.strategy import Resource
from shim.server.options import ListOptions
from shim.server.parts import Call
from shim.store.cache import Entry

Test = Callable[[Entry], bool]
_GENERIC = ("metadata.name", "metadata.namespace")


def test_of(call: Call, options: ListOptions) -> Test | None:
    """A test for entries, or None when everything is meant. Raises 400.

    Where :func:`reads_objects` says so, the test asks of objects that must be ready in the version asked for.
    """
    if not options.label_selector and not options.field_selector:
        return None
    resource = call.resource
    try:
        labels = selectors.parse(options.label_selector)
        fields = selectors.parse_fields(options.field_selector)
    except selectors.SelectorError as error:
        raise bad_request(str(error)) from error
    known = field_names(resource)
    for requirement in fields.requirements:
        if requirement.key not in known:
            raise bad_request(_unknown(resource, requirement.key))
    if any(known[requirement.key] != requirement.key for requirement in fields.requirements):
        fields = selectors.rename_fields(fields, known)
    by_label, by_field = labels.matches, fields.matches
    if fields.empty:
        return lambda entry: by_label(entry.labels)
    if reads_objects(resource, options):
        read, selectable = call.parts.registry.read, resource.strategy.selectable_fields
        return lambda entry: by_label(entry.labels) and by_field({**entry.fields, **selectable(read(resource, entry))})
    if labels.empty:
        return lambda entry: by_field(entry.fields)
    return lambda entry: by_field(entry.fields) and by_label(entry.labels)


def reads_objects(resource: Resource, options: ListOptions) -> bool:
    """Whether fields are asked for that the cache does not keep: those of a custom resource in another version.

    It keeps those of the stored version, whose fields may be others; and only conversion tells their values.
    """
    if not options.field_selector or (resource.storage is None and resource.converter is None):
        return False
    wanted = selectors.parse_fields(options.field_selector).requirements
    return resource.custom and any(requirement.key not in _GENERIC for requirement in wanted)


def equalities(field_selector: str) -> tuple[tuple[str, str], ...]:
    """What authorisation looks at of a selector: (field, value) of each field that must have one value."""
    try:
        found = selectors.parse_fields(field_selector)
    except selectors.SelectorError:
        return ()
    keys = dict.fromkeys(requirement.key for requirement in found.requirements)
    return tuple((key, value) for key in keys if (value := found.exact(key)) is not None)


def names_one(options: ListOptions) -> bool:
    """Whether a field selector means one name and no other."""
    return any(key == _GENERIC[0] for key, _ in equalities(options.field_selector))


@lru_cache(maxsize=512)
def field_names(resource: Resource) -> Mapping[str, str]:
    """The fields a kind can be selected by -> the names under which the cache keeps them."""
    own = resource.strategy.field_names()
    # upstream's kinds with fields of their own name the general ones themselves, and those without a namespace only one
    generic = _GENERIC if resource.namespaced or resource.custom or not own else _GENERIC[:1]
    return {**{name: name for name in generic}, **own}


def _unknown(resource: Resource, name: str) -> str:
    if resource.strategy.field_names():
        return resource.strategy.unknown_field.format(name)
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
