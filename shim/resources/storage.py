"""PersistentVolumes, claims and StorageClasses."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api.meta import Object, now
from shim.api.status import FieldError
from shim.resources import amounts, metadata, storage_rules
from shim.resources.pods.defaults import claim_spec
from shim.resources.strategy import Strategy


class ClaimStrategy(Strategy):
    counts_generation = False
    has_status = True

    def default(self, obj: Object) -> None:
        claim_spec(obj.setdefault("spec", {}))
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def initial_status(self, obj: Object) -> Object:
        return {"phase": "Pending"}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.claim_spec("spec", obj["spec"])

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return storage_rules.claim_change(new, old)


class VolumeStrategy(Strategy):
    counts_generation = False
    has_status = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        if spec.get("volumeMode") is None:
            spec["volumeMode"] = "Filesystem"
        amounts.canonical(spec.get("capacity"))
        if spec.get("hostPath") is not None and spec["hostPath"].get("type") is None:
            spec["hostPath"]["type"] = ""

    def initial_status(self, obj: Object) -> Object:
        return {"phase": "Pending", "lastPhaseTransitionTime": now()}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.volume_spec("spec", obj["spec"])

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"name": obj["metadata"].get("name", "")}


class StorageClassStrategy(Strategy):
    counts_generation = False

    def default(self, obj: Object) -> None:
        if obj.get("reclaimPolicy") is None:
            obj["reclaimPolicy"] = "Delete"
        if obj.get("volumeBindingMode") is None:
            obj["volumeBindingMode"] = "Immediate"

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.storage_class(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old), *storage_rules.storage_class_change(new, old)]
