"""Network kinds besides Services: Ingresses, NetworkPolicies."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata, network_rules
from shim.resources.addresses import balancer_warnings, cidr_warnings
from shim.resources.causes import IMMUTABLE, invalid
from shim.resources.strategy import Check, Strategy


class IngressStrategy(Strategy):
    has_status = True

    def initial_status(self, obj: Object) -> Object:
        return {"loadBalancer": {}}

    def validate(self, obj: Object) -> list[FieldError]:
        return [*super().validate(obj), *network_rules.ingress_class_twice(obj)]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        changed = metadata.validate_update(new, old)
        again = metadata.validate(new, self.name_rule) if changed or metadata.may_still_be_wrong(new, old) else []
        return [*changed, *again, *network_rules.ingress(new, old)]

    def validate_body(self, obj: Object) -> list[FieldError]:
        return network_rules.ingress(obj, None)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        return network_rules.ingress_status(new, old)

    def warnings(self, obj: Object) -> list[str]:
        if network_rules.CLASS not in (obj["metadata"].get("annotations") or {}):
            return []
        if (obj.get("spec") or {}).get("ingressClassName") is not None:
            return []
        return [f"annotation \"{network_rules.CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        return []

    def status_warnings(self, new: Object) -> list[str]:
        return balancer_warnings(new)


class IngressClassStrategy(Strategy):
    update_checks = (Check.METADATA_CHANGE, Check.CHANGE, Check.METADATA, Check.BODY)

    def default(self, obj: Object) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None and parameters.get("scope") is None:
            parameters["scope"] = "Cluster"

    def validate_body(self, obj: Object) -> list[FieldError]:
        return network_rules.ingress_class(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        now, before = ((obj.get("spec") or {}).get("controller") or "" for obj in (new, old))
        return [] if now == before else [invalid("spec.controller", now, IMMUTABLE)]


class NetworkPolicyStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction) or ():
                for port in rule.get("ports") or ():
                    if port.get("protocol") is None:
                        port["protocol"] = "TCP"
        if not spec.get("policyTypes"):
            # a policy always speaks of what comes in, and of what goes out only if it says so
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]

    def validate_body(self, obj: Object) -> list[FieldError]:
        return network_rules.network_policy(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        known = [text for _, text in network_rules.blocks(old)]
        return [*metadata.validate_update(new, old), *network_rules.network_policy(new, known)]

    def warnings(self, obj: Object) -> list[str]:
        return [text for at, block in network_rules.blocks(obj) for text in cidr_warnings(at, block)]
