"""The four kinds of resource.k8s.io: what the server does with each of them."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import IMMUTABLE, invalid, shown
from shim.resources.devices import admin_access, allocation, claims, configuration, selectors, slices
from shim.resources.devices.naming import every
from shim.resources.pods.amounts import is_extended
from shim.resources.printed import go_struct
from shim.resources.strategy import Check, Strategy, Uncounted, UncountedWithStatus


class DeviceClassStrategy(Strategy):
    """How a kind of device is asked for; its name counts in bytes, and a prefix of one is not looked at."""

    update_checks = (Check.METADATA, Check.METADATA_CHANGE, Check.BODY)
    name_rule = staticmethod(names.dns1123_subdomain_in_bytes)
    any_prefix = True

    def validate_body(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        causes = selectors.selectors("spec.selectors", spec.get("selectors"))
        causes += every("spec.config", spec.get("config"), configuration.configuration, configuration.MOST)
        name = spec.get("extendedResourceName")
        if name is not None and not is_extended(name):
            causes.append(invalid("spec.extendedResourceName", name, "must be a valid extended resource name"))
        return causes


class ResourceClaimStrategy(UncountedWithStatus):
    """Devices somebody asks for; what is asked for never changes."""

    status_resets = ("metadata", "spec")
    looks_at_namespace = True
    update_checks = (Check.METADATA, Check.METADATA_CHANGE, Check.CHANGE)

    def default(self, obj: Object) -> None:
        claims.default(obj.get("spec") or {})
        allocation.default(obj.get("status") or {})

    def validate_in(self, namespace: Object, new: Object, old: Object | None) -> list[FieldError]:
        if old is None:
            return admin_access.asked(namespace, new.get("spec") or {})
        return admin_access.granted(namespace, new.get("status") or {}, old.get("status") or {})

    def validate_body(self, obj: Object) -> list[FieldError]:
        return claims.rules("spec", obj.get("spec") or {})

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return _same_spec("ResourceClaimSpec", new, old)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        allocation.forget_lost_devices(new.setdefault("status", {}), old.get("status") or {})

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return allocation.status(new, old)


class ResourceClaimTemplateStrategy(Uncounted):
    """What claims of pods are made of."""

    looks_at_namespace = True
    update_checks = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE, Check.CHANGE)

    def default(self, obj: Object) -> None:
        claims.default((obj.get("spec") or {}).get("spec") or {})

    def validate_in(self, namespace: Object, new: Object, old: Object | None) -> list[FieldError]:
        return admin_access.asked(namespace, (new.get("spec") or {}).get("spec") or {})

    def validate_body(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        causes = metadata.validate_template("spec.metadata", spec.get("metadata") or {})
        return causes + claims.rules("spec.spec", spec.get("spec") or {})

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return _same_spec("ResourceClaimTemplateSpec", new, old)


def _same_spec(struct: str, new: Object, old: Object) -> list[FieldError]:
    spec = new.get("spec") or {}
    if spec == (old.get("spec") or {}):
        return []
    return [invalid("spec", go_struct(f"resource.v1.{struct}", spec), IMMUTABLE)]


class ResourceSliceStrategy(Strategy):
    """Devices a driver has."""

    update_checks = (Check.METADATA_CHANGE, Check.CHANGE)

    def default(self, obj: Object) -> None:
        slices.default(obj.get("spec") or {})

    def validate_body(self, obj: Object) -> list[FieldError]:
        return slices.rules(obj.get("spec") or {})

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return slices.rules(new.get("spec") or {}, old.get("spec") or {})

    def warnings(self, obj: Object) -> list[str]:
        driver = (obj.get("spec") or {}).get("driver") or ""
        if driver == driver.lower():
            return []
        return [f"spec.driver: driver names should be lowercase; {shown(driver)} contains uppercase characters"]

    unknown_field = "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {}"

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        spec = obj.get("spec") or {}
        return {"spec.nodeName": spec.get("nodeName") or "", "spec.driver": spec.get("driver") or ""}
