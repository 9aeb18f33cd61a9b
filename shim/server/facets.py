"""The sides of an object that are read and written on their own: its status, its scale, its ephemeral containers.

A facet is a subresource that behaves as an object does (get, update, patch). It says what is shown of the whole, how
what is written goes back into the whole, and which rules hold for the change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shim.api import names, selectors
from shim.api.meta import Object
from shim.api.status import conflict, invalid
from shim.resources.causes import not_negative
from shim.resources.columns.workloads import SCALES
from shim.resources.metadata import validate
from shim.resources.strategy import Column, Resource, ScalePaths, Strategy
from shim.server.object_metadata import check_name
from shim.server.registry import Prepare, Validate


@dataclass(frozen=True, slots=True)
class Facet:
    """One such side. Without ``show`` the whole object is shown and written."""

    prepare: Callable[[Strategy], Prepare]
    """Keeps what this facet must not change."""
    validate: Callable[[Strategy], Validate]
    show: Callable[[Resource, Object], Object] | None = None
    take: Callable[[Resource, Object, Object], None] | None = None
    """Puts what was written (second) into the whole object (third)."""
    columns: tuple[Column, ...] = ()
    """Of what is shown, where that is a kind of its own."""


def _keep(keep: Callable[[Object, Object], None]) -> Callable[[Strategy], Prepare]:
    return lambda strategy: keep


def _status_rules(strategy: Strategy) -> Validate:
    return strategy.validate_status_update


def _full_rules(strategy: Strategy) -> Validate:
    return strategy.validate_update


def _own(name: str) -> Facet:
    """A subresource for which the kind has rules of its own."""
    return Facet(
        lambda strategy: strategy.side(name).prepare_for_update, lambda strategy: strategy.side(name).validate_update
    )


def _keep_status(new: Object, old: Object) -> None:
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)


def _show_scale(resource: Resource, obj: Object) -> Object:
    if paths := resource.strategy.scale_paths:
        return _show_custom_scale(paths, obj)
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    shown: Object = {"replicas": status.get("replicas", 0)}
    if text := _selector_text(spec.get("selector")):
        shown["selector"] = text
    return _scale_of(obj, spec.get("replicas") or 0, shown)


def _show_custom_scale(paths: ScalePaths, obj: Object) -> Object:
    shown: Object = {"replicas": paths.at(obj, paths.status) or 0}
    if paths.selector and (text := paths.at(obj, paths.selector)):
        shown["selector"] = text
    return _scale_of(obj, paths.at(obj, paths.replicas) or 0, shown)


def _scale_of(obj: Object, replicas: int, status: Object) -> Object:
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _take_scale(resource: Resource, scale: Object, obj: Object) -> None:
    given, metadata = scale.get("metadata") or {}, obj["metadata"]
    check_name(metadata["name"], given.get("name") or metadata["name"])
    if given.get("uid") and given["uid"] != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {metadata['uid']}"
        raise conflict(resource.group, f"{resource.name}/scale", metadata["name"], why)
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    named = {"metadata": {**given, "name": metadata["name"]}}
    causes = validate(named, names.dns1123_subdomain) + not_negative("spec.replicas", replicas)
    if causes:
        raise invalid("autoscaling", "Scale", obj["metadata"]["name"], causes)
    *above, name = resource.strategy.scale_paths.replicas if resource.strategy.scale_paths else ("spec", "replicas")
    holder = obj
    for step in above:
        holder = holder.setdefault(step, {})
    holder[name] = replicas
    if revision := given.get("resourceVersion"):
        obj["metadata"]["resourceVersion"] = revision


def _selector_text(selector: Object | None) -> str:
    """A selector as text: ReplicationControllers have a plain map, the others a LabelSelector."""
    if not selector:
        return ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(selectors.from_object(selector))
    return str(selectors.from_map(selector))


FACETS: dict[str, Facet] = {
    "status": Facet(lambda strategy: strategy.prepare_for_status_update, _status_rules),
    "scale": Facet(lambda strategy: strategy.prepare_for_update, _full_rules, _show_scale, _take_scale, SCALES),
    "ephemeralcontainers": _own("ephemeralcontainers"),
    "resize": _own("resize"),
    "finalize": Facet(_keep(_keep_status), lambda strategy: strategy.validate_finalize),
    "approval": _own("approval"),
}
"""By subresource name."""
