"""How the tables of refusals are asked: an example of a kind is changed, decoded and checked as requests are."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from shim.api.decoding import decode, prune
from shim.api.meta import Object, split_api_version
from shim.api.oddities import EMPTIES
from shim.api.schema import Schema
from shim.api.status import FieldError
from shim.codec.definitions import load_schema
from shim.resources.metadata import before_update
from shim.resources.strategy import Resource
from shim.resources.table import RESOURCES

UID = "11111111-1111-1111-1111-111111111111"
Changes = dict[str, Any]  # ``"spec.rules.0.host"`` -> its new value; None takes it away


@cache
def _schema() -> Schema:
    return load_schema()


def row_of(obj: Object) -> Resource:
    group, version = split_api_version(obj["apiVersion"])
    return next(row for row in RESOURCES if (row.group, row.version, row.kind) == (group, version, obj["kind"]))


def changed(example: Object, changes: Changes) -> Object:
    obj = copy.deepcopy(example)
    for path, value in changes.items():
        at: Any = obj
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in steps:
            at = at[step] if isinstance(at, list) else at.setdefault(step, {})
        if value is not None:
            at[last] = value
        elif isinstance(at, list) or last in at:
            del at[last]
    return obj


def decoded(obj: Object) -> Object:
    """As a request's body becomes an object in its stored form, with its defaults."""
    row = row_of(obj)
    definition = _schema().for_kind(row.group, row.version, row.kind)
    assert definition is not None
    whole = {**decode(definition, obj, set()).obj, "apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    if row.to_storage:
        whole = row.to_storage(whole)
    row.strategy.default(whole)
    return whole


def created(obj: Object) -> Object:
    """An object about to be created."""
    whole, row = decoded(obj), row_of(obj)
    whole["metadata"] |= {"uid": UID, "creationTimestamp": "2026-01-01T00:00:00Z"}
    if row.namespaced:
        whole["metadata"]["namespace"] = "ns"
    row.strategy.prepare_for_create(whole)
    return whole


def refusals(obj: Object) -> list[str]:
    return _texts(row_of(obj).strategy.validate(created(obj)))


def warnings(obj: Object) -> list[str]:
    """What is said of a new object in Warning headers."""
    whole = created(obj)
    assert not row_of(obj).strategy.validate(whole)
    return row_of(obj).strategy.warnings(whole)


def update_refusals(new: Object, old: Object) -> list[str]:
    before, strategy = created(old), row_of(old).strategy
    before["metadata"]["resourceVersion"] = "1"
    after = decoded(new)
    group, version = split_api_version(after["apiVersion"])
    definition = _schema().for_kind(group, version, after["kind"])
    assert definition is not None
    after = {**prune(definition, after, EMPTIES, before), "apiVersion": after["apiVersion"], "kind": after["kind"]}
    kept = ("uid", "creationTimestamp", "namespace", "resourceVersion")
    after["metadata"] |= {name: before["metadata"][name] for name in kept if name in before["metadata"]}
    strategy.prepare_for_update(after, before)
    causes = strategy.validate_update(after, before)
    if causes or after["metadata"].get("finalizers"):  # as the registry asks
        causes = [*before_update(after, before), *causes]
    return _texts(causes)


def _texts(causes: list[FieldError]) -> list[str]:
    return [f"{cause.field}: {cause.message}".replace(UID, "<uid>") for cause in causes]
