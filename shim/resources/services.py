"""Services: a stable name and address for a set of pods. Addresses and ports are allocated by the server."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import service_changes, service_rules
from shim.resources.addresses import balancer_warnings
from shim.resources.service_rules import POLICIES, externally_accessible
from shim.resources.strategy import Check, Strategy

_AFFINITY_SECONDS = 10800
_WITH_ADDRESS = ("ClusterIP", "NodePort", "LoadBalancer")


class ServiceStrategy(Strategy):
    counts_generation = False
    has_status = True
    allow_create_on_update = True
    name_rule = staticmethod(names.dns1123_label)
    update_checks = (Check.METADATA_CHANGE, Check.CHANGE)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("sessionAffinity"):
            spec["sessionAffinity"] = "None"
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            config = spec.get("sessionAffinityConfig") or {}
            if (config.get("clientIP") or {}).get("timeoutSeconds") is None:
                spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}}
        kind = spec.get("type")
        if not kind:
            kind = spec["type"] = "ClusterIP"
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if spec.get("internalTrafficPolicy") is None and kind in _WITH_ADDRESS:
            spec["internalTrafficPolicy"] = "Cluster"
        if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
            spec["allocateLoadBalancerNodePorts"] = True
        if kind == "LoadBalancer":
            for ingress in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
                if ingress.get("ip") and ingress.get("ipMode") is None:
                    ingress["ipMode"] = "VIP"

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        _forget_policy(obj["spec"])

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        service_changes.drop_what_the_type_had(new["spec"], old["spec"])
        _forget_policy(new["spec"])
        if new["spec"].get("type") != "LoadBalancer":
            new["status"] = {**(new.get("status") or {}), "loadBalancer": {}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return service_rules.service(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return service_changes.change(new, old) + service_rules.service(new, old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return service_rules.balancer_status(new, old)

    def warnings(self, obj: Object) -> list[str]:
        return service_changes.warnings(obj)

    def status_warnings(self, new: Object) -> list[str]:
        return balancer_warnings(new)

    def initial_status(self, obj: Object) -> Object:
        return {"loadBalancer": {}}

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        spec = obj.get("spec") or {}
        return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


def _forget_policy(spec: Object) -> None:
    """Upstream never shows this field of such a Service; but whoever set it is recorded to own it."""
    if spec.get("type") == "ExternalName" and spec.get("internalTrafficPolicy") in POLICIES:
        del spec["internalTrafficPolicy"]
