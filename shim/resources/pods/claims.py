"""Claims of devices: what a pod names, and what of it a container uses (KEP-4381)."""

from __future__ import annotations

from collections.abc import Collection

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import duplicate, invalid, named, not_found, required


def of_pod(at: str, found: list[Object]) -> list[FieldError]:
    """``resourceClaims``: each a claim that exists, or one to be made from a template."""
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, each in enumerate(found):
        here, name = f"{at}[{index}]", each.get("name") or ""
        if not name:
            causes.append(required(f"{here}.name"))
        elif name in seen:
            causes.append(duplicate(f"{here}.name", name))
        else:
            causes += named(f"{here}.name", name, names.dns1123_label)
            seen.add(name)
        claim, template = each.get("resourceClaimName"), each.get("resourceClaimTemplateName")
        shown = {"Name": name, "ResourceClaimName": claim, "ResourceClaimTemplateName": template}
        if claim is not None and template is not None:
            text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            causes.append(invalid(here, shown, text))
        if claim is None and template is None:
            text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            causes.append(invalid(here, shown, text))
        for field, value in (("resourceClaimName", claim), ("resourceClaimTemplateName", template)):
            if value is not None:
                causes += named(f"{here}.{field}", value, names.dns1123_subdomain)
    return causes


def of_container(at: str, found: list[Object], known: Collection[str]) -> list[FieldError]:
    """``resources.claims``: claims of the pod, whole or single requests of them, none twice."""
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, each in enumerate(found):
        here, name, request = f"{at}[{index}]", each.get("name") or "", each.get("request") or ""
        if not name:
            causes.append(required(here))
            continue
        if name in seen:
            causes.append(duplicate(here, name))
        else:
            key = f"{name}/{request}" if request else name
            if request:
                causes += named(f"{here}.request", request, names.dns1123_label)
            if key in seen:
                causes.append(duplicate(here, key))
            elif not request:
                causes += [duplicate(here, name) for other in seen if other.startswith(f"{name}/")]
            seen.add(key)
        if name not in known:
            cause = not_found(here, name)
            listed = f": {', '.join(sorted(known))}" if known else " which is empty"
            text = f"{cause.message}: must be one of the names in pod.spec.resourceClaims{listed}"
            causes.append(FieldError(cause.reason, here, text))
    return causes


def statuses(at: str, found: list[Object], claims: list[Object]) -> list[FieldError]:
    """``status.resourceClaimStatuses``: what became of claims that are made from templates."""
    known = {claim.get("name") for claim in claims}
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, each in enumerate(found):
        here, name = f"{at}[{index}]", each.get("name") or ""
        if name not in known:
            causes.append(invalid(f"{here}.name", name, "must match the name of an entry in `spec.resourceClaims`"))
        if name in seen:
            causes.append(duplicate(f"{here}.name", name))
        seen.add(name)
        if each.get("resourceClaimName") is not None:
            causes += named(f"{here}.resourceClaimName", each["resourceClaimName"], names.dns1123_subdomain)
    return causes


def extended_status(at: str, found: Object, spec: Object) -> list[FieldError]:
    """``status.extendedResourceClaimStatus``: the claim that stands for extended resources (KEP-5004)."""
    containers = {
        each.get("name"): each for field in ("initContainers", "containers") for each in spec.get(field) or ()
    }
    causes: list[FieldError] = []
    mappings = found.get("requestMappings") or []
    if not mappings:
        causes.append(required(f"{at}.requestMappings", "at least one request mapping is required"))
    seen: set[tuple[str, ...]] = set()
    for index, mapping in enumerate(mappings):
        here = f"{at}.requestMappings[{index}]"
        fields = ("containerName", "resourceName", "requestName")
        key = tuple(mapping.get(field) or "" for field in fields)
        container, resource, request = key
        if container not in containers:
            text = "must match the name of an entry in spec.initContainers.name or spec.containers.name"
            causes.append(invalid(f"{here}.containerName", container, text))
        elif resource not in ((containers[container].get("resources") or {}).get("requests") or {}):
            entry = "an entry in spec.initContainers.resources.requests or spec.containers.resources.requests"
            text = f"must match the extended resource name of {entry}"
            causes.append(invalid(f"{here}.resourceName", resource, text))
        causes += named(f"{at}.requestName", request, names.dns1123_label)
        if key in seen:
            causes += [duplicate(f"{here}.{field}", value) for field, value in zip(fields, key, strict=True)]
        seen.add(key)
    name = found.get("resourceClaimName") or ""
    at = f"{at}.resourceClaimName"
    return causes + (named(at, name, names.dns1123_subdomain) if name else [required(at)])
