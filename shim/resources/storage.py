"""PersistentVolumes, claims, and the kinds of storage.k8s.io."""

from __future__ import annotations

from shim.api.meta import Object, now
from shim.api.status import FieldError
from shim.resources import amounts, claim_rules, storage_rules, volume_rules
from shim.resources.causes import IMMUTABLE, invalid, required
from shim.resources.node_labels import label_warnings, selector_warnings
from shim.resources.pods.defaults import claim_spec, volume_source
from shim.resources.printed import go_struct
from shim.resources.strategy import Check, Strategy

_WHOLE_FIRST = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE, Check.CHANGE)
_WHOLE = (Check.METADATA, Check.BODY, Check.CHANGE)


def _needs_revision(new: Object) -> list[FieldError]:
    """Two kinds ask for the revision once more."""
    return [] if new["metadata"].get("resourceVersion") else [required("resourceVersion")]


class ClaimStrategy(Strategy):
    counts_generation = False
    has_status = True
    update_checks = (Check.METADATA_CHANGE, Check.METADATA, Check.BODY, Check.CHANGE)

    def default(self, obj: Object) -> None:
        claim_spec(obj.setdefault("spec", {}))
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        for field in ("capacity", "allocatedResources"):
            amounts.canonical(status.get(field))

    def initial_status(self, obj: Object) -> Object:
        return {"phase": "Pending"}

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        _settle_source(obj["spec"], {})

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        _settle_source(new["spec"], old["spec"])

    def validate_body(self, obj: Object) -> list[FieldError]:
        return claim_rules.claim_spec("spec", obj["spec"])

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return claim_rules.change(new, old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return _needs_revision(new) + claim_rules.status(new)

    def warnings(self, obj: Object) -> list[str]:
        old = claim_rules.OLD_CLASS
        found = []
        if old in (obj["metadata"].get("annotations") or {}):
            text = 'deprecated since v1.8; use "storageClassName" attribute instead'
            found.append(f"metadata.annotations[{old}]: {text}")
        return found + claim_rules.warnings("spec", obj["spec"])


_SNAPSHOTS = ("VolumeSnapshot", "snapshot.storage.k8s.io")


def _settle_source(spec: Object, before: Object) -> None:
    """The older name of a claim's source takes two kinds, and silently nothing else; the newer one is told of it."""
    reference, source = spec.get("dataSourceRef"), spec.get("dataSource")
    if reference and reference.get("namespace") and not before.get("dataSourceRef"):
        spec.pop("dataSourceRef")  # other namespaces' sources are not built in
        reference = None
    if source and not reference and not before.get("dataSource"):
        kind, group = source.get("kind") or "", source.get("apiGroup") or ""
        if (kind, group) not in (_SNAPSHOTS, ("PersistentVolumeClaim", "")):
            spec.pop("dataSource")
            source = None
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)


class VolumeStrategy(Strategy):
    counts_generation = False
    has_status = True
    update_checks = (Check.METADATA, Check.BODY, Check.CHANGE)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        if spec.get("volumeMode") is None:
            spec["volumeMode"] = "Filesystem"
        amounts.canonical(spec.get("capacity"))
        volume_source(spec)
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def initial_status(self, obj: Object) -> Object:
        return {"phase": "Pending", "lastPhaseTransitionTime": now()}

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """A phase is dated when it begins, unless the client dates it."""
        super().prepare_for_status_update(new, old)
        status, before = new.setdefault("status", {}), old.get("status") or {}
        dated, was = status.get("lastPhaseTransitionTime"), before.get("lastPhaseTransitionTime")
        if status.get("phase") == before.get("phase"):
            if dated is None and was is not None:
                status["lastPhaseTransitionTime"] = was
        elif dated is None or dated == was:
            status["lastPhaseTransitionTime"] = now()

    def validate_body(self, obj: Object) -> list[FieldError]:
        return volume_rules.volume(obj) + volume_rules.mount_options(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        again = self.validate(new)[: -len(volume_rules.mount_options(new)) or None]  # upstream asks twice
        return again + volume_rules.change(new, old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return _needs_revision(new)

    def warnings(self, obj: Object) -> list[str]:
        return volume_rules.warnings(obj)


class StorageClassStrategy(Strategy):
    counts_generation = False
    update_checks = _WHOLE_FIRST

    def default(self, obj: Object) -> None:
        if obj.get("reclaimPolicy") is None:
            obj["reclaimPolicy"] = "Delete"
        if obj.get("volumeBindingMode") is None:
            obj["volumeBindingMode"] = "Immediate"

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.storage_class(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return storage_rules.storage_class_change(new, old)

    def warnings(self, obj: Object) -> list[str]:
        found: list[str] = []
        for index, term in enumerate(obj.get("allowedTopologies") or ()):
            for key_index, each in enumerate(term.get("matchLabelExpressions") or ()):
                at = f"allowedTopologies[{index}].matchLabelExpressions[{key_index}].key"
                found += label_warnings(at, (each.get("key") or "",))
        return found


class AttributesClassStrategy(Strategy):
    counts_generation = False
    update_checks = (Check.METADATA_CHANGE, Check.CHANGE, Check.METADATA, Check.BODY)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.attributes_class(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return storage_rules.attributes_class_change(new, old)


_IN_SECRETS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
    "logging of tokens in volume attributes"
)


class DriverStrategy(Strategy):
    """CSIDrivers."""

    first_generation = 0
    allow_unconditional_update = False
    update_checks = (Check.METADATA_CHANGE, Check.BODY, Check.CHANGE)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for field, value in (
            ("attachRequired", True),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("podInfoOnMount", False),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
            ("storageCapacity", False),
        ):
            if spec.get(field) is None:
                spec[field] = value
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.csi_driver_object(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return storage_rules.csi_driver_change(new, old)

    def warnings(self, obj: Object) -> list[str]:
        spec = obj["spec"]
        return [_IN_SECRETS] if spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None else []

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        same = (new["spec"].get("tokenRequests") or []) == (old["spec"].get("tokenRequests") or [])
        return [] if same else self.warnings(new)


class CsiNodeStrategy(Strategy):
    counts_generation = False
    allow_unconditional_update = False
    update_checks = _WHOLE

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.csi_node(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return storage_rules.csi_node_change(new, old)


class CapacityStrategy(Strategy):
    """CSIStorageCapacities."""

    counts_generation = False
    allow_unconditional_update = False
    update_checks = _WHOLE_FIRST

    def default(self, obj: Object) -> None:
        for field in ("capacity", "maximumVolumeSize"):
            if obj.get(field) is not None:
                amounts.canonical(found := {field: obj[field]})
                obj.update(found)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.capacity(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return storage_rules.capacity_change(new, old)

    def warnings(self, obj: Object) -> list[str]:
        return selector_warnings("nodeTopology", obj.get("nodeTopology"))


class AttachmentStrategy(Strategy):
    """VolumeAttachments: an order to a driver, which never changes; only its status does."""

    counts_generation = False
    has_status = True
    allow_unconditional_update = False
    status_resets = ("spec", "metadata")
    update_checks = _WHOLE

    def default(self, obj: Object) -> None:
        inline = ((obj.get("spec") or {}).get("source") or {}).get("inlineVolumeSpec")
        if inline is not None:
            volume_source(inline)
            amounts.canonical(inline.get("capacity"))

    def initial_status(self, obj: Object) -> Object:
        return {"attached": False}

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.validate_update(new, old)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return storage_rules.attachment(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        if new.get("spec") == old.get("spec"):
            return []
        return [invalid("spec", go_struct("storage.v1.VolumeAttachmentSpec", new.get("spec") or {}), IMMUTABLE)]
