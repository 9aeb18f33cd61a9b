"""Small kinds of the core group: namespaces, nodes, configmaps, secrets, service accounts, endpoints and the like."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import amounts, core_rules, metadata
from shim.resources.metadata import path_segment
from shim.resources.strategy import Strategy


class NamespaceStrategy(Strategy):
    counts_generation = False
    has_status = True
    name_rule = staticmethod(names.dns1123_label)

    def default(self, obj: Object) -> None:
        name = obj["metadata"].get("name")
        if name:
            labels = obj["metadata"].get("labels") or {}
            obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name}

    def initial_status(self, obj: Object) -> Object:
        return {"phase": "Active"}

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        self.default(obj)  # once more: the name may have been generated since
        spec = obj.setdefault("spec", {})
        finalizers = spec.get("finalizers") or []
        if "kubernetes" not in finalizers:
            spec["finalizers"] = [*finalizers, "kubernetes"]

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["spec"] = old.get("spec") or {}  # changed through the subresource finalize alone

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.phase": (obj.get("status") or {}).get("phase") or ""}


class NodeStrategy(Strategy):
    """A node's status comes with its creation, then only through the subresource."""

    counts_generation = False
    has_status = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        # one range under two names: the older one is the first of the newer
        if spec.get("podCIDR") and (spec.get("podCIDRs") or [None])[0] != spec["podCIDR"]:
            spec["podCIDRs"] = [spec["podCIDR"]]
        elif spec.get("podCIDRs") and not spec.get("podCIDR"):
            spec["podCIDR"] = spec["podCIDRs"][0]
        status = obj.setdefault("status", {})
        for field in ("capacity", "allocatable"):
            amounts.canonical(status.get(field))
        if status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])

    def prepare_for_create(self, obj: Object) -> None:
        """Keep the status: kubelets register with it."""

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.node(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        changed = core_rules.node_change(new, old)
        return [*core_rules.node(new), *metadata.validate_update(new, old), *changed]

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"spec.unschedulable": "true" if (obj.get("spec") or {}).get("unschedulable") else "false"}


class ConfigMapStrategy(Strategy):
    counts_generation = False

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.config_map(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        kept = core_rules.sealed(new, old, "data", "binaryData")
        return [*metadata.validate_update(new, old), *kept, *core_rules.config_map(new)]


class SecretStrategy(Strategy):
    counts_generation = False

    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        plain = obj.pop("stringData", None)
        if plain:  # written for people's convenience, never stored
            encoded = {key: base64.b64encode((value or "").encode()).decode() for key, value in plain.items()}
            obj["data"] = {**(obj.get("data") or {}), **encoded}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.secret(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        changed = core_rules.secret_change(new, old)
        return [*metadata.validate_update(new, old), *changed, *core_rules.secret(new)]

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"type": obj.get("type") or ""}


class ServiceAccountStrategy(Strategy):
    counts_generation = False


class EndpointsStrategy(Strategy):
    counts_generation = False

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.endpoints(obj)

    def warnings(self, obj: Object) -> list[str]:
        return ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]


class EventStrategy(Strategy):
    counts_generation = False
    allow_create_on_update = True
    name_rule = staticmethod(path_segment)

    def default(self, obj: Object) -> None:
        """Events are kept as core/v1 has them; the server converts before it asks."""
        if obj.get("source") is None:
            obj["source"] = {}
        for field in ("firstTimestamp", "lastTimestamp", "eventTime"):
            obj.setdefault(field, None)
        for field in ("reportingComponent", "reportingInstance"):
            obj.setdefault(field, "")

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.event(obj)

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        about = obj.get("involvedObject") or {}
        fields = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        found = {f"involvedObject.{field}": about.get(field) or "" for field in fields}
        source = obj.get("source") or {}
        return {
            **found,
            "reason": obj.get("reason") or "",
            "reportingComponent": obj.get("reportingComponent") or "",
            "source": source.get("component") or obj.get("reportingComponent") or "",
            "type": obj.get("type") or "",
        }


class LimitRangeStrategy(Strategy):
    counts_generation = False

    def default(self, obj: Object) -> None:
        """A container's default limit is its most, its default request its default limit, or its least."""
        for limit in (obj.get("spec") or {}).get("limits") or ():
            for field in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
                amounts.canonical(limit.get(field))
            if limit.get("type") != "Container":
                continue
            default = {**(limit.get("max") or {}), **(limit.get("default") or {})}
            request = {**(limit.get("min") or {}), **default, **(limit.get("defaultRequest") or {})}
            if default:
                limit["default"] = default
            if request:
                limit["defaultRequest"] = request

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.limit_range(obj)


class ResourceQuotaStrategy(Strategy):
    counts_generation = False
    has_status = True

    def default(self, obj: Object) -> None:
        amounts.canonical((obj.get("spec") or {}).get("hard"))

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.resource_quota(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return core_rules.resource_quota_change(new, old)
