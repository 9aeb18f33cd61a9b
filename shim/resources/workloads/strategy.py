"""The workloads: kinds that make pods from a template."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import claim_rules, metadata
from shim.resources.causes import immutable
from shim.resources.pods import validation as pod_rules
from shim.resources.pods import warnings
from shim.resources.strategy import Check, Strategy, Uncounted
from shim.resources.workloads import defaults, status_rules, validation


def hostname_warning(obj: Object) -> list[str]:
    """Pods are named after their owner, and their hosts after them."""
    complaints = names.dns1123_label(obj["metadata"].get("name") or "")
    if not complaints:
        return []
    text = (
        "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended"
    )
    return [f"metadata.name: {text}: [{' '.join(complaints)}]"]


class TemplateStrategy(Strategy):
    """What all kinds with a pod template at ``spec.template`` share."""

    has_status = True
    update_checks = (Check.METADATA_CHANGE, Check.BODY, Check.CHANGE)
    counts: status_rules.Counts | None = None

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        causes = super().validate_status_update(new, old)
        if self.counts is None:
            return causes
        status, before = new.get("status") or {}, old.get("status") or {}
        return [*causes, *status_rules.validate(self.counts, status), *status_rules.change(self.counts, status, before)]

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        return TemplateStrategy.warnings(self, new) if self.desired_changed(new, old) else []

    def warnings(self, obj: Object) -> list[str]:
        template = (obj.get("spec") or {}).get("template") or {}
        return warnings.pod("spec.template.", template)


class DeploymentStrategy(TemplateStrategy):
    counts = status_rules.DEPLOYMENT
    status_resets = ("spec", "metadata.labels")

    def warnings(self, obj: Object) -> list[str]:
        return [*hostname_warning(obj), *super().warnings(obj)]

    def desired_changed(self, new: Object, old: Object) -> bool:
        """Annotations count too: the controller copies them to the replica sets."""
        now, before = new["metadata"].get("annotations"), old["metadata"].get("annotations")
        return super().desired_changed(new, old) or (now or {}) != (before or {})

    def default(self, obj: Object) -> None:
        defaults.deployment(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.deployment(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return validation.same_selector(new, old)


class ReplicaSetStrategy(TemplateStrategy):
    counts = status_rules.REPLICA_SET

    def warnings(self, obj: Object) -> list[str]:
        return [*hostname_warning(obj), *super().warnings(obj)]

    def default(self, obj: Object) -> None:
        defaults.replica_set(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.replica_set(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return validation.same_selector(new, old)

    def initial_status(self, obj: Object) -> Object:
        return {"replicas": 0}


class ReplicationControllerStrategy(ReplicaSetStrategy):
    default_propagation = "Orphan"
    name_rule = staticmethod(names.dns1123_subdomain_in_bytes)
    any_prefix = True
    counts = status_rules.REPLICATION_CONTROLLER

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas") or 0)}

    def default(self, obj: Object) -> None:
        defaults.replication_controller(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.replication_controller(obj)

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        """Of what was there before: upstream mixes the two up, for this kind alone."""
        return super().update_warnings(old, new)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return []


class DaemonSetStrategy(TemplateStrategy):
    """``spec.templateGeneration`` went with apps/v1beta1; the server still keeps it, and shows it as an annotation."""

    counts = status_rules.DAEMON_SET

    def default(self, obj: Object) -> None:
        defaults.daemon_set(obj)
        obj["metadata"].setdefault("annotations", {}).setdefault(_TEMPLATE_GENERATION, "0")

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.daemon_set(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        changed = validation.same_selector(new, old)
        return [*metadata.validate_update(new, old), *changed, *self.validate_body(new)]

    def initial_status(self, obj: Object) -> Object:
        counts = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
        return dict.fromkeys(counts, 0)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        annotations = obj["metadata"]["annotations"]
        annotations[_TEMPLATE_GENERATION] = str(max(_number(annotations[_TEMPLATE_GENERATION]), 1))

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        count = _number((old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION))
        changed = new["spec"].get("template") != old["spec"].get("template")
        annotations = new["metadata"].setdefault("annotations", {})
        annotations[_TEMPLATE_GENERATION] = str(count + 1 if changed else count)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        if count := (old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION):
            new["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = count

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        return self.warnings(new) if new["spec"].get("template") != old["spec"].get("template") else []

    def shown_in_table(self, metadata: Object) -> Object:
        annotations = dict(metadata.get("annotations") or {})
        annotations.pop(_TEMPLATE_GENERATION, None)
        shown = {name: value for name, value in metadata.items() if name != "annotations"}
        return {**shown, "annotations": annotations} if annotations else shown


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


class StatefulSetStrategy(TemplateStrategy):
    counts = status_rules.STATEFUL_SET
    name_rule = staticmethod(names.dns1123_label)

    def default(self, obj: Object) -> None:
        defaults.stateful_set(obj)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        _drop_unavailable(obj)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        if "maxUnavailable" not in (old["spec"].get("updateStrategy") or {}).get("rollingUpdate", ()):
            _drop_unavailable(new)

    def warnings(self, obj: Object) -> list[str]:
        return [*super().warnings(obj), *self._claim_warnings(obj, ""), *self._history_warning(obj)]

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        claims = self._claim_warnings(new, ".Spec")  # upstream names the field so, on updates alone
        return [*super().update_warnings(new, old), *claims, *self._history_warning(new)]

    @staticmethod
    def _claim_warnings(obj: Object, inside: str) -> list[str]:
        return [
            warning
            for index, claim in enumerate(obj["spec"].get("volumeClaimTemplates") or ())
            for warning in claim_rules.warnings(f"spec.volumeClaimTemplates[{index}]{inside}", claim.get("spec") or {})
        ]

    @staticmethod
    def _history_warning(obj: Object) -> list[str]:
        if (obj["spec"].get("revisionHistoryLimit") or 0) >= 0:
            return []
        text = "a negative value retains all historical revisions; a value >= 0 is recommended"
        return [f"spec.revisionHistoryLimit: {text}"]

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.stateful_set(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [
            *metadata.validate_update(new, old),
            *validation.stateful_set(new, old),
            *validation.stateful_set_change(new, old),
        ]

    def initial_status(self, obj: Object) -> Object:
        return {"replicas": 0, "availableReplicas": 0}


def _drop_unavailable(obj: Object) -> None:
    """The feature MaxUnavailableStatefulSet is off by default in v1.36."""
    ((obj["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}).pop("maxUnavailable", None)


class ControllerRevisionStrategy(Uncounted):
    def validate(self, obj: Object) -> list[FieldError]:
        return [*super().validate(obj), *validation.controller_revision_data(obj)]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        changed = metadata.validate_update(new, old)
        return [*changed, *super().validate(new), *immutable("data", new.get("data"), old.get("data"))]

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.controller_revision(obj)


class PodTemplateStrategy(Strategy):
    update_checks = (Check.METADATA_CHANGE, Check.BODY)

    def default(self, obj: Object) -> None:
        defaults.pod_template(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return pod_rules.template("template", obj.get("template") or {})

    def warnings(self, obj: Object) -> list[str]:
        return warnings.pod("template.", obj.get("template") or {})

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        return self.warnings(new) if self.desired_changed(new, old) else []
