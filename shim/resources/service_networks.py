"""ServiceCIDRs, the ranges Services take their addresses from, and IPAddresses, those that are taken (KEP-1880)."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import canonical_cidr, canonical_ip, parse_range
from shim.resources.causes import IMMUTABLE, as_go, invalid, named, required
from shim.resources.metadata import path_segment
from shim.resources.strategy import Check, Strategy


def _address(name: str) -> list[str]:
    return [cause.message.partition(": ")[2].partition(": ")[2] for cause in canonical_ip("", name)]


class AddressStrategy(Strategy):
    counts_generation = False
    name_rule = staticmethod(_address)
    update_checks = (Check.METADATA, Check.BODY, Check.METADATA_CHANGE, Check.CHANGE)

    def validate_body(self, obj: Object) -> list[FieldError]:
        at, parent = "spec.parentRef", (obj.get("spec") or {}).get("parentRef")
        if parent is None:
            return [required(at)]
        group, space = parent.get("group") or "", parent.get("namespace") or ""
        causes = named(f"{at}.group", group, names.dns1123_subdomain) if group else []
        for field in ("resource", "name"):
            value = parent.get(field) or ""
            causes += named(f"{at}.{field}", value, path_segment) if value else [required(f"{at}.{field}")]
        return causes + named(f"{at}.namespace", space, path_segment)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        now, before = ((obj.get("spec") or {}).get("parentRef") for obj in (new, old))
        if now == before:
            return []
        fields = ("group", "resource", "namespace", "name")
        shown = None if now is None else as_go({**dict.fromkeys(fields, ""), **now}, *fields)
        return [invalid("spec.parentRef", shown, IMMUTABLE)]


class RangeStrategy(Strategy):
    counts_generation = False
    has_status = True
    status_resets = ("spec", "metadata")
    update_checks = (Check.METADATA_CHANGE, Check.CHANGE)

    def validate_body(self, obj: Object) -> list[FieldError]:
        at, ranges = "spec.cidrs", (obj.get("spec") or {}).get("cidrs") or []
        if not ranges:
            return [required(at, "at least one CIDR required")]
        if len(ranges) > 2:
            return [invalid(at, {"CIDRs": ranges}, "may only hold up to 2 values")]
        causes: list[FieldError] = []
        for index, each in enumerate(ranges):
            causes += canonical_cidr(f"{at}[{index}]", each)
        found = [parsed[1].version for each in ranges if (parsed := parse_range(each))]
        if len(found) == 2 and found[0] == found[1]:
            text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            causes.append(invalid(at, ranges, text))
        return causes

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        """One family may become two; nothing else changes."""
        at = "spec.cidrs"
        now, before = ((obj.get("spec") or {}).get("cidrs") or [] for obj in (new, old))
        if len(now) != len(before) and (len(before), len(now)) != (1, 2):
            return [invalid(at, now or None, IMMUTABLE)]
        pairs = enumerate(zip(now, before, strict=False))
        causes = [invalid(f"{at}[{index}]", each, IMMUTABLE) for index, (each, was) in pairs if each != was]
        return causes + self.validate_body(new) if len(now) != len(before) else causes
