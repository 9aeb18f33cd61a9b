"""RuntimeClasses: which handler on a node runs a pod, what that costs, and where there is one (KEP-585)."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import amounts
from shim.resources.causes import IMMUTABLE, duplicate, invalid, labels, named, required
from shim.resources.node_labels import label_warnings
from shim.resources.pods.amounts import validate
from shim.resources.pods.scheduling import tolerations
from shim.resources.strategy import Check, Strategy

_TOLERATION = ("key", "operator", "value", "effect")


class RuntimeClassStrategy(Strategy):
    counts_generation = False
    allow_create_on_update = True
    allow_unconditional_update = False
    any_finalizer = True
    update_checks = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE, Check.CHANGE)

    def default(self, obj: Object) -> None:
        amounts.canonical((obj.get("overhead") or {}).get("podFixed"))

    def validate_body(self, obj: Object) -> list[FieldError]:
        handler = obj.get("handler") or ""
        causes = named("handler", handler, names.dns1123_label) if handler else [required("handler")]
        causes += validate("overhead", {"limits": (obj.get("overhead") or {}).get("podFixed")})  # as a container's
        scheduling = obj.get("scheduling") or {}
        causes += labels("scheduling.nodeSelector", scheduling.get("nodeSelector"))
        return causes + _tolerations("scheduling.tolerations", scheduling.get("tolerations") or [])

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        handler = new.get("handler") or ""
        return [] if handler == (old.get("handler") or "") else [invalid("handler", handler, IMMUTABLE)]

    def warnings(self, obj: Object) -> list[str]:
        selector = (obj.get("scheduling") or {}).get("nodeSelector") or ()
        return label_warnings("scheduling.nodeSelector", selector)


def _tolerations(at: str, found: list[Object]) -> list[FieldError]:
    causes = tolerations(at, found)
    seen: list[tuple[str, ...]] = []
    for index, each in enumerate(found):
        key = tuple(each.get(field) or "" for field in _TOLERATION)
        if key in seen:
            shown = {field.capitalize(): value for field, value in zip(_TOLERATION, key, strict=True)}
            causes.append(duplicate(f"{at}[{index}]", {**shown, "TolerationSeconds": each.get("tolerationSeconds")}))
        seen.append(key)
    return causes
