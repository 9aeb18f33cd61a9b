"""The workloads: kinds that make pods from a template."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api.meta import Object
from shim.resources.strategy import Strategy
from shim.resources.workloads import defaults


class DeploymentStrategy(Strategy):
    has_status = True

    def default(self, obj: Object) -> None:
        defaults.deployment(obj)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        if "labels" in old["metadata"]:
            new["metadata"]["labels"] = old["metadata"]["labels"]
        else:
            new["metadata"].pop("labels", None)


class ReplicaSetStrategy(Strategy):
    has_status = True

    def default(self, obj: Object) -> None:
        defaults.replica_set(obj)

    def initial_status(self, obj: Object) -> Object:
        return {"replicas": 0}

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas") or 0)}


class ReplicationControllerStrategy(ReplicaSetStrategy):
    default_propagation = "Orphan"

    def default(self, obj: Object) -> None:
        defaults.replication_controller(obj)


class DaemonSetStrategy(Strategy):
    has_status = True

    def default(self, obj: Object) -> None:
        defaults.daemon_set(obj)

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


class StatefulSetStrategy(Strategy):
    has_status = True

    def default(self, obj: Object) -> None:
        defaults.stateful_set(obj)

    def initial_status(self, obj: Object) -> Object:
        return {"replicas": 0, "availableReplicas": 0}


class PodTemplateStrategy(Strategy):
    def default(self, obj: Object) -> None:
        defaults.pod_template(obj)
