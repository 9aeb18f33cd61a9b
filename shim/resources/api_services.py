"""APIServices: which group and version is served by whom, the server itself or one behind a Service."""

from __future__ import annotations

import binascii

from shim.api import names
from shim.api.meta import Object, now
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import invalid, named, one_of, required, shown
from shim.resources.metadata import path_segment
from shim.resources.strategy import Strategy

_HIGHEST_GROUP, _HIGHEST_VERSION = 20_000, 1_000


class ApiServiceStrategy(Strategy):
    has_status = True
    status_resets = ("spec", "metadata")
    counts_generation = False
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        service = (obj.get("spec") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443

    def initial_status(self, obj: Object) -> Object:
        """What needs no other server is there from the beginning."""
        local = (obj.get("spec") or {}).get("service") is None
        return {"conditions": [available(now())]} if local else {}

    def validate(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        wanted = f"{spec.get('version') or ''}.{spec.get('group') or ''}"

        def rule(name: str) -> list[str]:
            text = f'must be `spec.version+"."+spec.group`: {shown(wanted)}'
            return path_segment(name) or ([] if name == wanted else [text])

        return [*metadata.validate(obj, rule, any_finalizer=True), *_spec(spec)]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old, any_finalizer=True), *self.validate(new)]

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        causes: list[FieldError] = []
        for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
            at = f"status.conditions[{index}].status"
            causes += one_of(at, condition.get("status") or "", ("True", "False", "Unknown"))
        return causes


def available(time: str) -> Object:
    """The condition of an APIService that the server serves itself."""
    return {
        "type": "Available",
        "status": "True",
        "lastTransitionTime": time,
        "reason": "Local",
        "message": "Local APIServices are always available",
    }


def _spec(spec: Object) -> list[FieldError]:
    group, version = spec.get("group") or "", spec.get("version") or ""
    causes: list[FieldError] = []
    if not group and version != "v1":
        text = "only v1 may have an empty group and it better be legacy kube"
        causes.append(required("spec.group", text))
    if group:
        causes += named("spec.group", group, names.dns1123_subdomain)
    causes += named("spec.version", version, names.dns1035_label)
    for field, most in (("groupPriorityMinimum", _HIGHEST_GROUP), ("versionPriority", _HIGHEST_VERSION)):
        priority = spec.get(field) or 0
        if not 0 < priority <= most:
            causes.append(invalid(f"spec.{field}", priority, f"must be positive and less than {most}"))
    service, bundle, trusting = spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify") or False
    if service is None:
        if bundle:
            size = f"{len(binascii.a2b_base64(bundle))} bytes"
            causes.append(invalid("spec.caBundle", size, "local APIServices may not have a caBundle"))
        if trusting:
            text = "local APIServices may not have insecureSkipTLSVerify"
            causes.append(invalid("spec.insecureSkipTLSVerify", True, text))
        return causes
    causes += [required(f"spec.service.{field}") for field in ("namespace", "name") if not service.get(field)]
    port = service.get("port") or 0
    causes += [invalid("spec.service.port", port, f"port is not valid: {text}") for text in names.port_number(port)]
    if trusting and bundle:
        causes.append(invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"))
    return causes
