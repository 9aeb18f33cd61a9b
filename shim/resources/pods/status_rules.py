"""What a kubelet or the scheduler may say of a pod in its status: nothing that undoes what has been said."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import ip_address, parse
from shim.resources.causes import IMMUTABLE, forbidden, internal, invalid, named
from shim.resources.pods import annotated, claims


def status(new: Object, old: Object) -> list[FieldError]:
    """The reasons that lie in the status."""
    found, before, spec = new.get("status") or {}, old.get("status") or {}, old["spec"]
    causes = annotated.changed(new, old)
    for index, condition in enumerate(found.get("conditions") or ()):
        at, kind = f"status.conditions[{index}]", condition.get("type") or ""
        if (condition.get("observedGeneration") or 0) < 0:
            text = "must be a non-negative integer"
            causes.append(invalid(f"{at}.observedGeneration", condition["observedGeneration"], text))
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            causes += named(f"{at}.Type", kind, names.qualified_name)
    node = found.get("nominatedNodeName") or ""
    if node and node != (before.get("nominatedNodeName") or ""):
        at = "status.nominatedNodeName"
        causes += named(at, node, names.dns1123_subdomain)
        if spec.get("nodeName"):
            causes.append(forbidden(at, "may not be set on pods that are already bound to a node"))
    if (found.get("observedGeneration") or 0) < 0:
        text = "must be a non-negative integer"
        causes.append(invalid("status.observedGeneration", found["observedGeneration"], text))
    if (found.get("qosClass") or "") != (before.get("qosClass") or ""):
        causes.append(invalid("status.qosClass", found.get("qosClass") or "", IMMUTABLE))
    for field, of in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        causes += _revived(field, spec.get(of) or [], spec, found, before)
    told = found.get("resourceClaimStatuses") or []
    causes += claims.statuses("status.resourceClaimStatuses", told, spec.get("resourceClaims") or [])
    if found.get("extendedResourceClaimStatus") is not None:
        at = "status.extendedResourceClaimStatus"
        causes += claims.extended_status(at, found["extendedResourceClaimStatus"], spec)
    causes += _addresses("status.podIPs", found.get("podIPs") or [], before.get("podIPs") or [])
    host = found.get("hostIP") or ""
    causes += _addresses("status.hostIPs", found.get("hostIPs") or [], before.get("hostIPs") or [], host)
    return causes


def _revived(field: str, containers: list[Object], spec: Object, found: Object, before: Object) -> list[FieldError]:
    """A container that ended for good stays ended."""
    every = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    rules = (rule for each in every for rule in each.get("restartPolicyRules") or ())
    if any(rule.get("action") == "RestartAllContainers" for rule in rules):
        return []
    now = {each.get("name"): each.get("state") or {} for each in found.get(field) or ()}
    known = {each.get("name"): each for each in containers}
    causes: list[FieldError] = []
    for index, each in enumerate(before.get(field) or ()):
        ended = (each.get("state") or {}).get("terminated")
        name = each.get("name")
        if ended is None or name not in now or now[name].get("terminated") is not None:
            continue
        if name not in known or not _may_restart(known[name], spec, ended.get("exitCode") or 0):
            text = "may not be transitioned to non-terminated state"
            causes.append(forbidden(f"status.{field}[{index}].state", text))
    return causes


def _may_restart(container: Object, spec: Object, code: int) -> bool:
    if container.get("restartPolicy") is not None:
        for rule in container.get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            listed = code in (codes.get("values") or ())
            if rule.get("action") == "Restart" and listed == (codes.get("operator") == "In"):
                return True
    policy = container.get("restartPolicy") or spec.get("restartPolicy")
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def _addresses(at: str, found: list[Object], had: list[Object], first: str | None = None) -> list[FieldError]:
    """``first``: what the first of them must be."""
    known = {each.get("ip") or "" for each in had}
    causes: list[FieldError] = []
    if found == had and first in (None, *(each.get("ip") for each in found[:1])):
        return []
    if first is not None and found and (found[0].get("ip") or "") != first:
        causes.append(invalid(f"{at}[0].ip", found[0].get("ip") or "", "must be equal to `hostIP`"))
    for index, each in enumerate(found):
        causes += ip_address(f"{at}[{index}]", each.get("ip") or "", known)
    if len(found) < 2:
        return causes
    parsed = [parse(each.get("ip") or "") for each in found]
    if None in parsed:
        index = parsed.index(None)
        text = f"failed to check for dual stack with error:invalid IP[{index}]: {found[index].get('ip') or ''}"
        causes.append(internal(at, text))
    if len(found) > 2 or {address and address.version for address in parsed} != {4, 6}:
        shown = [{"IP": each.get("ip") or ""} for each in found]
        causes.append(invalid(at, shown, "may specify no more than one IP for each IP family"))
    return causes
