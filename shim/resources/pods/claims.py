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
