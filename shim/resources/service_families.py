"""Which addresses does a Service want, in a cluster that has IPv4 alone? What it leaves open is settled here.

This comes before any other rule: allocation asks it, and what is allocated is then judged with the rest.
"""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import parse
from shim.resources.causes import invalid
from shim.resources.service_rules import cluster_ips

FAMILY = "IPv4"
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
_POLICY = "spec.ipFamilyPolicy"


def sync(spec: Object, before: Object | None) -> None:
    """One address has two names: who knows only ``clusterIP`` means ``clusterIPs`` too, and need not own it."""
    address = spec.get("clusterIP") or ""
    if before is None:
        if address and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [address]
        return
    known, was = before.get("clusterIP") or "", before.get("clusterIPs") or []
    if was and not spec.get("clusterIPs") and address == known:
        spec["clusterIPs"] = list(was)
    if address != known and (spec.get("clusterIPs") or []) == was:
        spec.pop("clusterIPs", None)
        if address or not known:
            spec["clusterIPs"] = [address]


def settle(spec: Object, before: Object | None) -> list[FieldError]:
    """Fill in ``ipFamilyPolicy`` and ``ipFamilies``; the reasons why that is not to be done."""
    if spec.get("type") == "ExternalName" or (before is not None and stays_preferring(spec, before)):
        return []
    open_headless = spec.get("clusterIP") == "None" and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        known = (before or {}).get("ipFamilyPolicy")
        spec["ipFamilyPolicy"] = known or ("RequireDualStack" if open_headless else "SingleStack")
    causes = cluster_ips(spec, (before or {}).get("clusterIPs") or ())
    if causes:
        return causes
    families = list(spec.get("ipFamilies") or ())
    causes = _fits_policy(spec, before, families) + _follow_addresses(spec, families)
    if causes:
        return causes
    if open_headless:
        families = families or [FAMILY]
        if len(families) < 2 and spec["ipFamilyPolicy"] != "SingleStack":
            families.append(_OTHER[families[0]])
    else:
        if spec["ipFamilyPolicy"] == "RequireDualStack":
            text = "this cluster is not configured for dual-stack services"
            causes.append(invalid(_POLICY, spec["ipFamilyPolicy"], text))
        causes += [
            invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(families)
            if family != FAMILY
        ]
    spec["ipFamilies"] = families or [FAMILY]
    return causes


def _fits_policy(spec: Object, before: Object | None, families: list[str]) -> list[FieldError]:
    """Whether the policy agrees with how many addresses and families there are. ``families`` may lose its second."""
    policy, addresses = spec["ipFamilyPolicy"], spec.get("clusterIPs") or []
    was, had = (before or {}).get("clusterIPs") or [], (before or {}).get("ipFamilies") or []
    causes: list[FieldError] = []
    if policy == "SingleStack":
        if before is not None and addresses == was and len(addresses) > 1:
            addresses = spec["clusterIPs"] = addresses[:1]
        if before is not None and families == had:
            del families[1:]
        text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
        if len(addresses) == 2:
            causes.append(invalid(_POLICY, policy, text.format("cluster IPs")))
        if len(families) == 2:
            causes.append(invalid(_POLICY, policy, text.format("IP families")))
        return causes
    text = "must be 'SingleStack' to release the secondary {}"
    if 0 < len(addresses) < len(was):
        causes.append(invalid(_POLICY, policy, text.format("cluster IP")))
    if 0 < len(families) < len(had):
        causes.append(invalid(_POLICY, policy, text.format("IP family")))
    return causes


def _follow_addresses(spec: Object, families: list[str]) -> list[FieldError]:
    """Add to ``families`` what the addresses are of."""
    causes: list[FieldError] = []
    addresses = spec.get("clusterIPs") or []
    for index, address in enumerate(addresses):
        if address == "None":
            break
        if index < len(families):
            continue
        found = parse(address)
        family = f"IPv{found.version}" if found else ""
        if family == FAMILY:
            families.append(family)
        else:
            text = f"{family} is not configured on this cluster"
            causes.append(invalid(f"spec.clusterIPs[{index}]", addresses, text))
    return causes


def stays_preferring(spec: Object, before: Object) -> bool:
    """Whether a Service that took what there was is left as it is: nobody asked for more."""
    return (
        spec.get("ipFamilyPolicy") == "PreferDualStack"
        and before.get("ipFamilyPolicy") in (None, "PreferDualStack")
        and spec.get("type") == before.get("type")
        and all((spec.get(field) or []) == (before.get(field) or []) for field in ("clusterIPs", "ipFamilies"))
    )
