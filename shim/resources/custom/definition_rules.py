"""Every reason why the specification of a CustomResourceDefinition is refused.

Upstream keeps one form of a definition inside, in which what all versions share stands once: messages name fields
of that form (``spec.validation`` where every version has the same schema), and so do these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, named, one_of, required
from shim.resources.custom.conversion_rules import check_ca_bundle, check_conversion
from shim.resources.custom.version_rules import (
    check_columns,
    check_deprecation,
    check_schema,
    check_selectable,
    check_subresources,
)

_PER_VERSION = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")


def check_spec(obj: Object, old: Object | None) -> list[FieldError]:
    """In the order upstream tells them; a schema that ``old`` had already may cost what it does."""
    spec = obj["spec"]
    versions = spec.get("versions") or []
    shared = _hoisted(versions)
    before = _schemas(old["spec"]) if old else {}
    causes = _group(spec)
    scope = spec.get("scope") or ""
    causes += [required("spec.scope")] if not scope else one_of("spec.scope", scope, ("Cluster", "Namespaced"))
    if "schema" not in shared:
        for index, version in enumerate(versions):
            if not (version.get("schema") or {}).get("openAPIV3Schema"):
                causes.append(required(f"spec.versions[{index}].schema.openAPIV3Schema"))
    for index, version in enumerate(versions):
        causes += _version(version, f"spec.versions[{index}]", shared, before)
    seen = [version.get("name") for version in versions]
    shown = _as_go_has(versions, shared) if versions else spec.get("versions")
    if len(set(seen)) != len(seen):
        causes.append(invalid("spec.versions", shown, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        causes.append(invalid("spec.versions", shown, "must have exactly one version marked as storage version"))
    if versions and versions[0].get("name"):  # which upstream keeps twice
        causes += named("spec.version", versions[0]["name"], names.dns1035_label)
    defined = spec.get("names") or {}
    causes += [
        required(f"spec.names.{name}") for name in ("plural", "singular", "kind", "listKind") if not defined.get(name)
    ]
    causes += check_names(defined, "spec.names")
    if "schema" in shared:
        has_status = any((version.get("subresources") or {}).get("status") is not None for version in versions)
        unchanged = all(before.get(version.get("name")) == shared["schema"] for version in versions)
        causes += check_schema(shared["schema"], "spec.validation", has_status, unchanged)
    causes += check_subresources(shared.get("subresources"), "spec.subresources")
    causes += check_columns(shared.get("additionalPrinterColumns") or (), "spec.additionalPrinterColumns")
    if "selectableFields" in shared:
        raw = (shared.get("schema") or {}).get("openAPIV3Schema")
        if raw is None:
            causes.append(invalid("spec.selectableFields", "", "may only be set when validations.schema is included"))
        else:
            causes += check_selectable(shared["selectableFields"], raw, "spec.selectableFields")
    causes += check_conversion(spec.get("conversion"))
    causes += check_ca_bundle(spec, old)
    causes += _stored(obj, versions)
    return causes


def _schemas(spec: Object) -> dict[str, Any]:
    return {version.get("name"): version.get("schema") for version in spec.get("versions") or ()}


def _hoisted(versions: list[Object]) -> dict[str, Any]:
    """What every version has, and has the same."""
    found = {}
    for field in _PER_VERSION:
        values = [version.get(field) or None for version in versions]
        if values and values[0] is not None and all(value == values[0] for value in values):
            found[field] = values[0]
    return found


def _group(spec: Object) -> list[FieldError]:
    group = spec.get("group") or ""
    if not group:
        return [required("spec.group")]
    if problems := names.dns1123_subdomain(group):
        return [invalid("spec.group", group, ",".join(problems))]
    if "." not in group:
        return [invalid("spec.group", group, "should be a domain with at least one dot")]
    return []


def _version(version: Object, path: str, shared: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    name = version.get("name") or ""
    problems = names.dns1035_label(name)
    causes = [invalid(f"{path}.name", name, ",".join(problems))] if problems else []
    causes += check_deprecation(version, path)
    if "schema" not in shared and version.get("schema"):
        has_status = (version.get("subresources") or {}).get("status") is not None
        causes += check_schema(version["schema"], f"{path}.schema", has_status, before.get(name) == version["schema"])
    if "subresources" not in shared:
        causes += check_subresources(version.get("subresources"), f"{path}.subresources")
    if "additionalPrinterColumns" not in shared:
        causes += check_columns(version.get("additionalPrinterColumns") or (), f"{path}.additionalPrinterColumns")
    if "selectableFields" not in shared and version.get("selectableFields"):
        raw = (version.get("schema") or {}).get("openAPIV3Schema")
        if raw is not None:
            causes += check_selectable(version["selectableFields"], raw, f"{path}.selectableFields")
    return causes


_GO_NAMES = {"schema": "Schema", "subresources": "Subresources", "additionalPrinterColumns": "AdditionalPrinterColumns",
             "selectableFields": "SelectableFields"}  # fmt: skip


def _as_go_has(versions: list[Object], shared: Mapping[str, Any]) -> list[Object]:
    """The versions in upstream's internal form, which its messages quote."""
    found = []
    for version in versions:
        shown: Object = {
            "Name": version.get("name") or "",
            "Served": bool(version.get("served")),
            "Storage": bool(version.get("storage")),
            "Deprecated": bool(version.get("deprecated")),
            "DeprecationWarning": version.get("deprecationWarning"),
        }
        for field, go in _GO_NAMES.items():
            shown[go] = None if field in shared else version.get(field)
        found.append(shown)
    return found


def check_names(defined: Object, path: str) -> list[FieldError]:
    """Of the names a definition asks for, or of those its status says it has."""
    causes: list[FieldError] = []
    for field in ("plural", "singular", "kind", "listKind"):
        name = defined.get(field) or ""
        mixed = field.lower().endswith("kind")
        problems = names.dns1035_label(name.lower() if mixed else name) if name else []
        if problems:
            text = ",".join(problems)
            text = f"may have mixed case, but should otherwise match: {text}" if mixed else text
            causes.append(invalid(f"{path}.{field}", name, text))
    for index, name in enumerate(defined.get("shortNames") or ()):
        if problems := names.dns1035_label(name):
            causes.append(invalid(f"{path}.shortNames[{index}]", name, ",".join(problems)))
    if defined.get("kind") and defined.get("kind") == defined.get("listKind"):
        causes.append(invalid(f"{path}.listKind", defined["listKind"], "kind and listKind may not be the same"))
    for index, name in enumerate(defined.get("categories") or ()):
        if problems := names.dns1035_label(name):
            causes.append(invalid(f"{path}.categories[{index}]", name, ",".join(problems)))
    return causes


def _stored(obj: Object, versions: list[Object]) -> list[FieldError]:
    stored = (obj.get("status") or {}).get("storedVersions")
    path = "status.storedVersions"
    if not stored:
        return [invalid(path, stored, "must have at least one stored version")]
    known = {version.get("name") for version in versions}
    causes = [
        invalid(path, stored, f"must have the storage version {version['name']}")
        for version in versions
        if version.get("storage") and version.get("name") not in stored
    ]
    for index, name in enumerate(stored):
        if name not in known:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions"
                f" until a storage migration ensures no data remains persisted in {name} and removes {name} from "
                "status.storedVersions"
            )
            causes.append(invalid(f"{path}[{index}]", name, text))
    return causes
