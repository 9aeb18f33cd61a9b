"""Files that a volume is made of: keys of ConfigMaps and Secrets, a pod's own fields, tokens, certificates."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, required
from shim.resources.pods.references import VOLUME_FIELDS, field_ref, resource_ref
from shim.resources.pods.sources import local_path

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def mode(at: str, value: int | None) -> list[FieldError]:
    return [] if value is None or 0 <= value <= 0o777 else [invalid(at, value, _MODE)]


def items(at: str, source: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, item in enumerate(source.get("items") or ()):
        here = f"{at}.items[{index}]"
        path = item.get("path") or ""
        if not item.get("key"):
            causes.append(required(f"{here}.key"))
        if not path:
            causes.append(required(f"{here}.path"))
        causes += local_path(f"{here}.path", path) + mode(f"{here}.mode", item.get("mode"))
    return causes


def downward_file(at: str, item: Object) -> list[FieldError]:
    path = item.get("path") or ""
    causes = [] if path else [required(f"{at}.path")]
    causes += local_path(f"{at}.path", path)
    if item.get("fieldRef"):
        causes += field_ref(f"{at}.fieldRef", item["fieldRef"], VOLUME_FIELDS)
        if item.get("resourceFieldRef"):
            causes.append(invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
    elif item.get("resourceFieldRef"):
        causes += resource_ref(f"{at}.resourceFieldRef", item["resourceFieldRef"], of_volume=True)
    else:
        causes.append(required(at, "one of fieldRef and resourceFieldRef is required"))
    return causes + mode(f"{at}.mode", item.get("mode"))


def volume(at: str, source: Object) -> list[FieldError]:
    causes = mode(f"{at}.defaultMode", source.get("defaultMode"))
    paths: set[str] = set()

    def once(path: str, shown: str) -> None:
        if path and path in paths:
            causes.append(invalid(at, shown, "conflicting duplicate paths"))
        paths.add(path)

    for index, each in enumerate(source.get("sources") or ()):
        here = f"{at}.sources[{index}]"
        for kind in ("secret", "configMap"):
            found = each.get(kind)
            if found is None:
                continue
            if not found.get("name"):
                causes.append(required(f"{here}.{kind}.name"))
            causes.extend(items(f"{here}.{kind}", found))
            for item in found.get("items") or ():
                once(item.get("path") or "", found.get("name") or "")
        if each.get("downwardAPI") is not None:
            for item in each["downwardAPI"].get("items") or ():
                causes += downward_file(f"{here}.downwardAPI", item)
                once(item.get("path") or "", item.get("path") or "")
        token = each.get("serviceAccountToken")
        if token is not None:
            seconds = token.get("expirationSeconds") or 0
            if seconds < 600:
                text = "may not specify a duration less than 10 minutes"
                causes.append(invalid(f"{here}.serviceAccountToken.expirationSeconds", seconds, text))
            if seconds > 2**32:
                text = "may not specify a duration larger than 2^32 seconds"
                causes.append(invalid(f"{here}.serviceAccountToken.expirationSeconds", seconds, text))
            if not token.get("path"):
                causes.append(required(f"{at}.path"))
            else:
                causes += local_path(f"{at}.path", token["path"])
        if len([value for value in each.values() if value is not None]) > 1:
            causes.append(forbidden(here, "may not specify more than 1 volume type per source"))
    return causes
