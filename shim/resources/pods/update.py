"""What may change of a pod once it is made: its images, its deadline, more tolerations, and little else."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import forbidden, invalid, required
from shim.resources.pods import containers, scheduling, volumes

_FORBIDDEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate(new: Object, old: Object) -> list[FieldError]:
    """An update of the pod itself."""
    causes = metadata.validate_update(new, old)
    spec, before = new["spec"], old["spec"]
    causes += _images(spec, before)
    if causes:
        return causes
    causes += _deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    causes += _tolerations(spec.get("tolerations") or [], before.get("tolerations") or [])
    gated = bool(before.get("schedulingGates"))
    if gated:
        causes += _gates(spec.get("schedulingGates") or [], before["schedulingGates"])
    if causes:
        return causes
    if _fixed(spec, gated) == _fixed(before, gated) and _same_grace(spec, before):
        return []
    return [forbidden("spec", _FORBIDDEN)]


def _images(spec: Object, before: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field, what in (("containers", "containers"), ("initContainers", "initContainers")):
        found, had = spec.get(field) or [], before.get(field) or []
        if len(found) != len(had):
            text = f"pod updates may not add or remove {what}"
            causes.append(forbidden(f"spec.{field}", text))
        for index, container in enumerate(found):
            image = container.get("image") or ""
            if not image:
                causes.append(required(f"spec.{field}[{index}].image"))
            elif image != image.strip():
                text = "must not have leading or trailing whitespace"
                causes.append(invalid(f"spec.{field}[{index}].image", image, text))
    return causes


def _deadline(value: int | None, before: int | None) -> list[FieldError]:
    at = "spec.activeDeadlineSeconds"
    if value is None:
        return [] if before is None else [invalid(at, None, "must not update from a positive integer to nil value")]
    if not 0 <= value <= 2**31 - 1:
        return [invalid(at, value, "must be between 0 and 2147483647, inclusive")]
    if before is not None and before < value:
        return [invalid(at, value, "must be less than or equal to previous value")]
    return []


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
    added = sorted({gate["name"] for gate in found} - {gate["name"] for gate in had})
    if added:
        text = f"only deletion is allowed, but found new scheduling gate '{added[0]}'"
        return [forbidden("spec.schedulingGates[0]", text)]
    return []


def _fixed(spec: Object, gated: bool) -> dict[str, Any]:
    """The part of a spec that no update may change."""
    free = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "containers", "initContainers"}
    free |= {"schedulingGates", "nodeSelector", "affinity"} if gated else set()
    rest: dict[str, Any] = {
        key: value for key, value in spec.items() if key not in free and value not in (None, [], {})
    }
    for field in ("containers", "initContainers"):
        rest[field] = [
            {key: value for key, value in each.items() if key != "image" and value not in (None, [], {})}
            for each in spec.get(field) or ()
        ]
    return rest


def _same_grace(spec: Object, before: Object) -> bool:
    now, was = spec.get("terminationGracePeriodSeconds"), before.get("terminationGracePeriodSeconds")
    return now == was or (now == 1 and was is not None and was < 0)


def ephemeral_containers(new: Object, old: Object) -> list[FieldError]:
    """The subresource: containers may be added, none changed or taken away."""
    causes = metadata.validate_update(new, old)
    spec, had = new["spec"], {each["name"]: each for each in old["spec"].get("ephemeralContainers") or ()}
    found = spec.get("ephemeralContainers") or []
    known, _ = volumes.validate("spec.volumes", spec.get("volumes") or [])
    targets = {each.get("name", "") for each in spec.get("containers") or ()}
    taken = targets | {each.get("name", "") for each in spec.get("initContainers") or ()}
    at = "spec.ephemeralContainers"
    causes += containers.ephemeral_containers(at, found, taken, known, targets, spec.get("hostUsers") is not False)
    now = {each.get("name"): each for each in found}
    for name, container in had.items():
        if name not in now:
            text = f'existing ephemeral containers "{name}" may not be removed\n'
            causes.append(forbidden(at, text))
        elif now[name] != container:
            text = f'existing ephemeral containers "{name}" may not be changed\n'
            causes.append(forbidden(at, text))
    return causes
