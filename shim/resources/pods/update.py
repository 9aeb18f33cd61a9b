"""What may change of a pod once it is made: its images, its deadline, more tolerations, and little else."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import forbidden, invalid, required
from shim.resources.pods import annotated, containers, scheduling, volumes
from shim.resources.printed import difference, go_struct

_SPEC = "core.v1.PodSpec"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"

_FORBIDDEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def change(new: Object, old: Object) -> list[FieldError]:
    """The reasons that lie in the difference, for an update of the pod itself."""
    spec, before = new["spec"], old["spec"]
    causes = annotated.changed(new, old)
    for field in ("containers", "initContainers"):
        if len(spec.get(field) or ()) != len(before.get(field) or ()):
            return [*causes, forbidden(f"spec.{field}", "pod updates may not add or remove containers")]
        causes += _images(f"spec.{field}", spec.get(field) or [])
    deadline, final = _deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    causes += deadline
    if final:
        return causes
    causes += _tolerations(spec.get("tolerations") or [], before.get("tolerations") or [])
    causes += _gates(spec.get("schedulingGates") or [], before.get("schedulingGates") or [])
    rest = _with_what_may_change(spec, before)
    if before.get("schedulingGates"):
        causes += _placement(rest, before)
    if rest != before and _filled(go_struct(_SPEC, rest)) != _filled(go_struct(_SPEC, before)):
        changed = difference(_SPEC, before, rest)
        causes.append(forbidden("spec", f"{_FORBIDDEN}\n{changed}"))
    return causes


def _images(at: str, found: list[Object]) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, container in enumerate(found):
        image = container.get("image") or ""
        if not image:
            causes.append(required(f"{at}[{index}].image"))
        if image != image.strip():
            causes.append(invalid(f"{at}[{index}].image", image, "must not have leading or trailing whitespace"))
    return causes


def _with_what_may_change(spec: Object, before: Object) -> Object:
    """The new spec, but with the old values where a change is allowed."""
    rest = dict(spec)
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        if field in before:
            rest[field] = before[field]
        else:
            rest.pop(field, None)
    for field in ("containers", "initContainers"):
        if field in rest:
            pairs = zip(rest[field], before.get(field) or (), strict=False)
            rest[field] = [{**container, "image": had.get("image")} for container, had in pairs]
    grace = before.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        rest["terminationGracePeriodSeconds"] = grace
    return rest


def _filled(value: Any) -> Any:
    """Without what is as good as absent, so that only real differences count: a zero is none of it (``runAsUser``)."""
    if isinstance(value, dict):
        return {key: _filled(each) for key, each in value.items() if each not in (None, [], {}, "")}
    return [_filled(each) for each in value] if isinstance(value, list) else value


def _placement(rest: Object, before: Object) -> list[FieldError]:
    """While a pod is held back, where it may run can still be narrowed (KEP-3838); taken out of ``rest`` if it was."""
    causes: list[FieldError] = []
    now, was = rest.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if now != was:
        if any(now.get(key) != value for key, value in was.items()):
            text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            causes.append(invalid("spec.nodeSelector", rest.get("nodeSelector"), text))
        rest["nodeSelector"] = before.get("nodeSelector")
    nodes, had = ((of.get("affinity") or {}).get("nodeAffinity") for of in (rest, before))
    if nodes != had:
        causes += _narrowed(f"spec.affinity.nodeAffinity.{_REQUIRED}", nodes or {}, had or {})
        affinity = {kind: value for kind, value in (rest.get("affinity") or {}).items() if kind != "nodeAffinity"}
        rest["affinity"] = ({"nodeAffinity": had} if had is not None else {}) | affinity or before.get("affinity")
    return causes


def _narrowed(at: str, new: Object, old: Object) -> list[FieldError]:
    """Each term that must hold may ask for more; what is only preferred is free."""
    now, was = ((of.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [] for of in (new, old))
    if not was:
        return []
    if len(now) != len(was):
        printed = go_struct("core.v1.NodeSelector", new.get(_REQUIRED) or {})
        terms = printed["NodeSelectorTerms"] if printed else None
        text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid(f"{at}.nodeSelectorTerms", terms, text)]
    text = "only additions are allowed (no mutations or deletions)"
    causes: list[FieldError] = []
    for index, (term, had) in enumerate(zip(now, was, strict=True)):
        empty = not had.get("matchExpressions") and not had.get("matchFields")
        kept = all(
            (term.get(field) or [])[: len(had.get(field) or ())] == (had.get(field) or [])
            for field in ("matchExpressions", "matchFields")
        )
        if (empty and term != had) or not kept:
            printed = go_struct("core.v1.NodeSelectorTerm", term)
            causes.append(invalid(f"{at}.nodeSelectorTerms[{index}]", printed, text))
    return causes


def _deadline(value: int | None, before: int | None) -> tuple[list[FieldError], bool]:
    """A deadline may be set and shortened; whether nothing more needs to be looked at."""
    at = "spec.activeDeadlineSeconds"
    if value is None:
        text = "must not update from a positive integer to nil value"
        return ([] if before is None else [invalid(at, None, text)]), False
    if not 0 <= value <= 2**31 - 1:
        return [invalid(at, value, "must be between 0 and 2147483647, inclusive")], True
    if before is not None and before < value:
        return [invalid(at, value, "must be less than or equal to previous value")], True
    return [], False


def _tolerations(found: list[Object], had: list[Object]) -> list[FieldError]:
    """What was tolerated stays so; the time for which may change."""

    def kept(each: Object) -> Object:
        return {key: value for key, value in each.items() if key != "tolerationSeconds" and value}

    for before in had:
        if not any(kept(each) == kept(before) for each in found):
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden("spec.tolerations", text)]
    return scheduling.tolerations("spec.tolerations", found)


def _gates(found: list[Object], had: list[Object]) -> list[FieldError]:
    """A gate may be opened, none added; one named twice is told of once, where it stands last."""
    known = {gate["name"] for gate in had}
    places = {gate.get("name") or "": index for index, gate in enumerate(found)}
    return [
        forbidden(
            f"spec.schedulingGates[{index}].name", f"only deletion is allowed, but found new scheduling gate '{name}'"
        )
        for name, index in places.items()
        if name not in known
    ]


def ephemeral_containers(new: Object, old: Object) -> list[FieldError]:
    """The subresource: containers may be added, none changed or taken away."""
    causes = metadata.validate_update(new, old)
    spec, had = new["spec"], {each["name"]: each for each in old["spec"].get("ephemeralContainers") or ()}
    found = spec.get("ephemeralContainers") or []
    known, _ = volumes.validate("spec.volumes", spec.get("volumes") or [])
    targets = {each.get("name", "") for each in spec.get("containers") or ()}
    taken = targets | {each.get("name", "") for each in spec.get("initContainers") or ()}
    at = "spec.ephemeralContainers"
    around = containers.Surroundings.of(spec, known)
    causes += containers.ephemeral_containers(at, found, taken, targets, around)
    now = {each.get("name"): each for each in found}
    for name, container in had.items():
        if name not in now:
            text = f'existing ephemeral containers "{name}" may not be removed\n'
            causes.append(forbidden(at, text))
        elif now[name] != container:
            text = f'existing ephemeral containers "{name}" may not be changed\n'
            causes.append(forbidden(at, text))
    return causes
