"""Network kinds besides Services: EndpointSlices, Ingresses, NetworkPolicies."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import network_rules
from shim.resources.strategy import Strategy


class EndpointSliceStrategy(Strategy):
    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if not port.get("protocol"):
                port["protocol"] = "TCP"
        for endpoint in obj.get("endpoints") or ():
            if endpoint.get("conditions") is None:
                endpoint["conditions"] = {}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return network_rules.endpoint_slice(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        return network_rules.endpoint_slice_change(new, old)


class IngressStrategy(Strategy):
    has_status = True

    def initial_status(self, obj: Object) -> Object:
        return {"loadBalancer": {}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        return network_rules.ingress(obj)


class NetworkPolicyStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction) or ():
                for port in rule.get("ports") or ():
                    if not port.get("protocol"):
                        port["protocol"] = "TCP"
        if not spec.get("policyTypes"):
            # a policy always speaks of what comes in, and of what goes out only if it says so
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]

    def validate_body(self, obj: Object) -> list[FieldError]:
        return network_rules.network_policy(obj)
