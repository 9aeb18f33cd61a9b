"""Small kinds of the core group: namespaces, nodes, configmaps, secrets, service accounts, endpoints and the like."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object, new_uid
from shim.api.status import FieldError
from shim.resources import amounts, core_rules, event_rules, event_versions, metadata, node_rules, quota_rules
from shim.resources.addresses import cidr_warnings
from shim.resources.metadata import path_segment
from shim.resources.strategy import Check, Strategy
from shim.resources.tls_pair import pair_complaint


class NamespaceStrategy(Strategy):
    counts_generation = False
    has_status = True
    name_rule = staticmethod(names.dns1123_label)
    update_checks = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE)

    def default(self, obj: Object) -> None:
        name = obj["metadata"].get("name")
        if name:
            labels = obj["metadata"].get("labels") or {}
            obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name}
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Active"

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

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.namespace(obj)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return core_rules.namespace_status(new)

    def validate_finalize(self, new: Object, old: Object) -> list[FieldError]:
        """The subresource finalize: who cleans the namespace takes itself off the list."""
        return metadata.validate_update(new, old) + core_rules.namespace(new, indexed=True)

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

    update_checks = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE, Check.CHANGE)

    def prepare_for_create(self, obj: Object) -> None:
        """Keep the status: kubelets register with it. Configuring kubelets through the API is gone (KEP-281)."""
        obj["spec"].pop("configSource", None)
        obj["status"].pop("config", None)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["spec"].pop("configSource", None)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        (new.get("status") or {}).pop("config", None)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return node_rules.node(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return node_rules.change(new, old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return node_rules.change(new, old)

    def warnings(self, obj: Object) -> list[str]:
        spec = obj.get("spec") or {}
        found = []
        if spec.get("externalID"):
            found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        for index, text in enumerate(spec.get("podCIDRs") or ()):
            found += cidr_warnings(f"spec.podCIDRs[{index}]", text)
        return found

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"spec.unschedulable": "true" if (obj.get("spec") or {}).get("unschedulable") else "false"}


_CHANGE_FIRST = (Check.METADATA_CHANGE, Check.CHANGE, Check.METADATA, Check.BODY)
_UNNAMED = (Check.METADATA_CHANGE, Check.BODY, Check.CHANGE)


class ConfigMapStrategy(Strategy):
    counts_generation = False
    update_checks = _CHANGE_FIRST

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.config_map(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return core_rules.sealed(new, old, "data", "binaryData")


class SecretStrategy(Strategy):
    counts_generation = False
    update_checks = _CHANGE_FIRST

    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        plain = obj.pop("stringData", None)
        if plain:  # written for people's convenience, never stored
            encoded = {key: base64.b64encode((value or "").encode()).decode() for key, value in plain.items()}
            obj["data"] = {**(obj.get("data") or {}), **encoded}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.secret(obj)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        """A type that is not named stays."""
        if not new.get("type"):
            new["type"] = old.get("type")

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return core_rules.secret_change(new, old)

    def warnings(self, obj: Object) -> list[str]:
        if obj.get("type") != "kubernetes.io/tls":
            return []
        data = obj.get("data") or {}
        complaint = pair_complaint(data.get("tls.crt") or "", data.get("tls.key") or "")
        return [complaint] if complaint else []

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"type": obj.get("type") or ""}


_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


class ServiceAccountStrategy(Strategy):
    counts_generation = False

    def prepare_for_create(self, obj: Object) -> None:
        """A secret is referred to by its name; nothing else counts, so nothing else is kept."""
        if obj.get("secrets"):
            obj["secrets"] = [{"name": each["name"]} if each.get("name") else {} for each in obj["secrets"]]

    def prepare_for_update(self, new: Object, old: Object) -> None:
        self.prepare_for_create(new)

    def warnings(self, obj: Object) -> list[str]:
        if _MOUNTABLE not in (obj["metadata"].get("annotations") or {}):
            return []
        text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        return [f"metadata.annotations[{_MOUNTABLE}]: {text}"]

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        return [] if _MOUNTABLE in (old["metadata"].get("annotations") or {}) else self.warnings(new)


class EndpointsStrategy(Strategy):
    counts_generation = False
    allow_create_on_update = True

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate_body(self, obj: Object) -> list[FieldError]:
        return core_rules.endpoints(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """Old servers took more: what they took is not refused as long as it stays."""
        causes = super().validate_update(new, old)
        if not causes or (new.get("subsets") or []) != (old.get("subsets") or []):
            return causes
        return [cause for cause in causes if not cause.field.startswith("subsets")]


class EventStrategy(Strategy):
    """Events of ``v1``, the form in which they are kept."""

    counts_generation = False
    allow_create_on_update = True
    name_rule = staticmethod(path_segment)
    update_checks = (Check.CHANGE,)
    trusts_metadata = True

    def validate(self, obj: Object) -> list[FieldError]:
        return event_rules.create(obj, strict=False) or metadata.validate_any(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return event_rules.update(new, old, strict=False)

    def warnings(self, obj: Object) -> list[str]:
        return []

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


class NewEventStrategy(EventStrategy):
    """Events of ``events.k8s.io/v1``."""

    def field_names(self) -> Mapping[str, str]:
        return event_versions.field_names(super().field_names())

    def validate(self, obj: Object) -> list[FieldError]:
        return event_rules.create(obj, strict=True) or metadata.validate_any(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return event_rules.update(new, old, strict=True)


class LimitRangeStrategy(Strategy):
    counts_generation = False
    allow_create_on_update = True
    update_checks = (Check.METADATA, Check.BODY)
    trusts_metadata = True

    def prepare_for_create(self, obj: Object) -> None:
        """Upstream's only kind that names itself."""
        if not obj["metadata"].get("name"):
            obj["metadata"]["name"] = new_uid()

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
        return quota_rules.limit_range(obj)


class ResourceQuotaStrategy(Strategy):
    counts_generation = False
    has_status = True
    update_checks = _UNNAMED

    def default(self, obj: Object) -> None:
        amounts.canonical((obj.get("spec") or {}).get("hard"))
        for field in ("hard", "used"):
            amounts.canonical((obj.get("status") or {}).get(field))

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return quota_rules.quota_status(new)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return quota_rules.resource_quota(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return quota_rules.resource_quota_change(new, old)
