"""Pods: everything the API server knows of them, gathered from the files beside this one."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object, now
from shim.api.qos import qos_class
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.addresses import ip_warnings
from shim.resources.pods import annotated, defaults, label_keys, resize, status_rules, update, validation, warnings
from shim.resources.strategy import Check, Strategy, keep_all_but_spec


class PodStrategy(Strategy):
    """Pods live until their processes ended, and once made hardly change."""

    has_status = True
    status_resets = ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences")
    update_checks = (Check.METADATA_CHANGE, Check.METADATA, Check.CHANGE)

    def default(self, obj: Object) -> None:
        defaults.pod(obj)

    def initial_status(self, obj: Object) -> Object:
        said = (obj.get("status") or {}).get("qosClass")
        status: Object = {"phase": "Pending", "qosClass": said or qos_class(obj["spec"])}
        if obj["spec"].get("schedulingGates"):
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": now(),
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]
        return status

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        label_keys.merge(obj)
        annotated.write_profiles(obj)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        # a kubelet that knows less must not take away what only the server decides
        status, before = new.setdefault("status", {}), old.get("status") or {}
        if not status.get("qosClass") and before.get("qosClass"):
            status["qosClass"] = before["qosClass"]

    def desired_changed(self, new: Object, old: Object) -> bool:
        """Binding a pod to a node carries out what was wanted: it is no new wish."""
        bound = {**new["spec"], "nodeName": old["spec"].get("nodeName")}
        return bound != {**old["spec"], "nodeName": old["spec"].get("nodeName")}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return validation.pod(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        if new["spec"] == old["spec"] and new["metadata"].get("annotations") == old["metadata"].get("annotations"):
            return []  # it was found in order before; most updates change labels, owners or finalizers
        return validation.running_pod(new) + update.change(new, old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return status_rules.status(new, old)

    def warnings(self, obj: Object) -> list[str]:
        found = names.dns1123_label(obj["metadata"].get("name") or "")
        text = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
        own = [f"{text}a DNS label is recommended: [{' '.join(found)}]"] if found else []
        return own + warnings.pod("", obj)

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        """None: hardly any person changes pods, and kubelets do all the time."""
        return []

    def status_warnings(self, new: Object) -> list[str]:
        status = new.get("status") or {}
        return [
            warning
            for field in ("podIPs", "hostIPs")
            for index, each in enumerate(status.get(field) or ())
            for warning in ip_warnings(f"status.{field}[{index}].ip", each.get("ip") or "")
        ]

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return {
            "spec.nodeName": spec.get("nodeName") or "",
            "spec.restartPolicy": spec.get("restartPolicy") or "",
            "spec.schedulerName": spec.get("schedulerName") or "",
            "spec.serviceAccountName": spec.get("serviceAccountName") or "",
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase") or "",
            "status.podIP": status.get("podIP") or "",
            "status.nominatedNodeName": status.get("nominatedNodeName") or "",
        }

    def field_names(self) -> Mapping[str, str]:
        # the first is what very old clients say, the second may be asked for and is that of no pod
        return {**super().field_names(), "spec.host": "spec.nodeName", "status.podIPs": "status.podIPs"}

    def grace_period(self, obj: Object, requested: int | None) -> int:
        """A pod on a node is given time to stop; one that never got there, or has ended, is not."""
        spec = obj.get("spec") or {}
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        seconds = requested if requested is not None else spec.get("terminationGracePeriodSeconds") or 0
        return 1 if seconds < 0 else int(seconds)

    def side(self, subresource: str) -> Strategy:
        return _SIDES.get(subresource, self)


class EphemeralContainers(PodStrategy):
    """The subresource that adds ephemeral containers, and nothing else."""

    def prepare_for_update(self, new: Object, old: Object) -> None:
        added = (new.get("spec") or {}).get("ephemeralContainers") or []
        keep_all_but_spec(new, old)
        new["spec"] = {**old["spec"], "ephemeralContainers": added}
        if not added:
            del new["spec"]["ephemeralContainers"]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return update.ephemeral_containers(new, old)


class Resize(PodStrategy):
    """The subresource that changes the resources of running containers, and nothing else."""

    def prepare_for_update(self, new: Object, old: Object) -> None:
        spec = resize.wanted(new, old)
        keep_all_but_spec(new, old)
        new["spec"] = spec

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return metadata.validate_update(new, old) + validation.running_pod(new) + resize.rules(new, old)


_SIDES: Mapping[str, Strategy] = {"ephemeralcontainers": EphemeralContainers(), "resize": Resize()}
