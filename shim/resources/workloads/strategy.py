"""The workloads: kinds that make pods from a template."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.pods import warnings
from shim.resources.strategy import Strategy
from shim.resources.workloads import defaults, validation


class TemplateStrategy(Strategy):
    """What all kinds with a pod template at ``spec.template`` share."""

    has_status = True

    def warnings(self, obj: Object) -> list[str]:
        template = (obj.get("spec") or {}).get("template") or {}
        return warnings.pod_spec("spec.template.spec", template.get("spec") or {})


class DeploymentStrategy(TemplateStrategy):
    def default(self, obj: Object) -> None:
        defaults.deployment(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.deployment(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return validation.same_selector(new, old)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        if "labels" in old["metadata"]:
            new["metadata"]["labels"] = old["metadata"]["labels"]
        else:
            new["metadata"].pop("labels", None)


class ReplicaSetStrategy(TemplateStrategy):
    def default(self, obj: Object) -> None:
        defaults.replica_set(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.replica_set(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return validation.same_selector(new, old)

    def initial_status(self, obj: Object) -> Object:
        return {"replicas": 0}

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas") or 0)}


class ReplicationControllerStrategy(ReplicaSetStrategy):
    default_propagation = "Orphan"

    def default(self, obj: Object) -> None:
        defaults.replication_controller(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.replication_controller(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return []


class DaemonSetStrategy(TemplateStrategy):
    def default(self, obj: Object) -> None:
        defaults.daemon_set(obj)

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
        self._count_template(obj, 1)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        count = int((old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION) or 0)
        changed = new["spec"].get("template") != old["spec"].get("template")
        self._count_template(new, count + 1 if changed else count)

    @staticmethod
    def _count_template(obj: Object, count: int) -> None:
        """Kept as an annotation since apps/v1 dropped ``spec.templateGeneration``."""
        annotations = obj["metadata"].setdefault("annotations", {})
        annotations[_TEMPLATE_GENERATION] = str(count)


_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


class StatefulSetStrategy(TemplateStrategy):
    def default(self, obj: Object) -> None:
        defaults.stateful_set(obj)

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


class PodTemplateStrategy(Strategy):
    def default(self, obj: Object) -> None:
        defaults.pod_template(obj)
