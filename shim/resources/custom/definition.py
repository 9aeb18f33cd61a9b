"""CustomResourceDefinitions themselves: their defaults, and every reason why one is refused.

Upstream keeps one form of a definition inside, in which what all versions share stands once: messages name fields
of that form (``spec.validation`` where every version has the same schema), and so do these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shim.api import names
from shim.api.meta import Object, now
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import duplicate, forbidden, immutable, invalid, one_of, required, too_many
from shim.resources.custom.fieldpath import PathProblem, resolve
from shim.resources.custom.formats import FORMATS
from shim.resources.custom.schema_rules import SchemaCheck
from shim.resources.custom.structure import Node, Raw
from shim.resources.strategy import Strategy

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_MAX_SELECTABLE = 8
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_REVIEWS = ("v1", "v1beta1")
_APPROVED = "api-approved.kubernetes.io"
_PER_VERSION = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")


class DefinitionStrategy(Strategy):
    """Definitions; the server itself follows them and serves what they define (:mod:`shim.server.custom`)."""

    has_status = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        defined = spec.setdefault("names", {})
        kind = defined.get("kind") or ""
        if not defined.get("singular"):
            defined["singular"] = kind.lower()
        if not defined.get("listKind") and kind:
            defined["listKind"] = f"{kind}List"
        if spec.get("conversion") is None:
            spec["conversion"] = {"strategy": "None"}
        client = (spec["conversion"].get("webhook") or {}).get("clientConfig") or {}
        if client.get("service") and client["service"].get("port") is None:
            client["service"]["port"] = 443

    def initial_status(self, obj: Object) -> Object:
        stored = [each["name"] for each in obj["spec"].get("versions") or () if each.get("storage")][:1]
        return {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored or None}

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        status = {**(new.get("status") or {})}
        stored = list(status.get("storedVersions") or ())
        for version in new["spec"].get("versions") or ():
            if version.get("storage"):
                if version["name"] not in stored:
                    status["storedVersions"] = [*stored, version["name"]]
                    new["status"] = status
                break

    def begin_deletion(self, obj: Object) -> bool:
        """Its instances go first: the first request only marks the definition."""
        meta = obj["metadata"]
        if meta.get("deletionTimestamp"):
            return False
        meta["deletionTimestamp"] = now()
        if FINALIZER not in (meta.get("finalizers") or ()):
            meta["finalizers"] = [*(meta.get("finalizers") or ()), FINALIZER]
        status = obj.setdefault("status", {})
        text = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
        told = {"type": "Terminating", "status": "True", "lastTransitionTime": now()}
        told |= {"reason": "InstanceDeletionPending", "message": text}
        status["conditions"] = [each for each in status.get("conditions") or () if each["type"] != "Terminating"] + [
            told
        ]
        return True

    def validate(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        wanted = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"

        def rule(name: str) -> list[str]:
            return names.dns1123_subdomain(name) + (
                [] if name == wanted else ['must be spec.names.plural+"."+spec.group']
            )

        return [
            *metadata.validate(obj, rule, any_finalizer=True),
            *_definition(obj, None),
            *_approval(obj, None),
            *_preserving(obj, None),
        ]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        causes = [*metadata.validate_update(new, old, any_finalizer=True), *_definition(new, old)]
        spec, before = new["spec"], old["spec"]
        if any(each["type"] == "Established" and each["status"] == "True" for each in _conditions(old)):
            causes += immutable("spec.scope", spec.get("scope"), before.get("scope"))
            causes += immutable("spec.names.kind", spec["names"].get("kind"), before["names"].get("kind"))
        causes += immutable("spec.group", spec.get("group"), before.get("group"))
        causes += immutable("spec.names.plural", spec["names"].get("plural"), before["names"].get("plural"))
        return [*causes, *_approval(new, old), *_preserving(new, old)]

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        accepted = (new.get("status") or {}).get("acceptedNames") or {}
        return [*metadata.validate_update(new, old, any_finalizer=True), *_names(accepted, "status.acceptedNames")]

    def warnings(self, obj: Object) -> list[str]:
        found: list[str] = []
        for version in obj["spec"].get("versions") or ():
            raw = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            found += [f'unrecognized format "{format}"' for format in sorted(_unknown_formats(raw))]
        return list(dict.fromkeys(found))


def _conditions(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []


def _unknown_formats(raw: Any) -> set[str]:
    found: set[str] = set()
    if not isinstance(raw, Mapping):
        return found
    format, type = raw.get("format"), raw.get("type") or ""
    known = {"integer": ("int32", "int64"), "number": ("float", "double")}.get(type)
    if isinstance(format, str) and format:
        if type in ("", "string"):
            known = (*FORMATS, "password", *((format,) if format.replace("-", "") in FORMATS else ()))
        if known is not None and format not in known:
            found.add(format)
    for name in ("items", "additionalProperties", "not"):
        found |= _unknown_formats(raw.get(name))
    for each in (raw.get("properties") or {}).values():
        found |= _unknown_formats(each)
    for name in ("allOf", "anyOf", "oneOf"):
        for each in raw.get(name) or ():
            found |= _unknown_formats(each)
    return found


# --- the specification ------------------------------------------------------------------------------------------------


def _hoisted(versions: list[Object]) -> dict[str, Any]:
    """What every version has, and has the same."""
    found = {}
    for field in _PER_VERSION:
        values = [version.get(field) or None for version in versions]
        if values and values[0] is not None and all(value == values[0] for value in values):
            found[field] = values[0]
    return found


def _definition(obj: Object, old: Object | None) -> list[FieldError]:
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
    shown = _as_go_has(versions, shared)
    if len(set(seen)) != len(seen):
        causes.append(_invalid("spec.versions", shown, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        causes.append(_invalid("spec.versions", shown, "must have exactly one version marked as storage version"))
    defined = spec.get("names") or {}
    causes += [
        required(f"spec.names.{name}") for name in ("plural", "singular", "kind", "listKind") if not defined.get(name)
    ]
    causes += _names(defined, "spec.names")
    if "schema" in shared:
        has_status = any((version.get("subresources") or {}).get("status") is not None for version in versions)
        unchanged = all(before.get(version.get("name")) == shared["schema"] for version in versions)
        causes += _schema(shared["schema"], "spec.validation", has_status, unchanged)
    causes += _subresources(shared.get("subresources"), "spec.subresources")
    causes += _columns(shared.get("additionalPrinterColumns") or (), "spec.additionalPrinterColumns")
    if "selectableFields" in shared:
        raw = (shared.get("schema") or {}).get("openAPIV3Schema")
        if raw is None:
            causes.append(invalid("spec.selectableFields", "", "may only be set when validations.schema is included"))
        else:
            causes += _selectable(shared["selectableFields"], raw, "spec.selectableFields")
    causes += _conversion(spec.get("conversion"))
    causes += _stored(obj, versions)
    return causes


def _schemas(spec: Object) -> dict[str, Any]:
    return {version.get("name"): version.get("schema") for version in spec.get("versions") or ()}


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
    causes += _deprecation(version, path)
    if "schema" not in shared and version.get("schema"):
        has_status = (version.get("subresources") or {}).get("status") is not None
        causes += _schema(version["schema"], f"{path}.schema", has_status, before.get(name) == version["schema"])
    if "subresources" not in shared:
        causes += _subresources(version.get("subresources"), f"{path}.subresources")
    if "additionalPrinterColumns" not in shared:
        causes += _columns(version.get("additionalPrinterColumns") or (), f"{path}.additionalPrinterColumns")
    if "selectableFields" not in shared and version.get("selectableFields"):
        raw = (version.get("schema") or {}).get("openAPIV3Schema")
        if raw is not None:
            causes += _selectable(version["selectableFields"], raw, f"{path}.selectableFields")
    return causes


def _deprecation(version: Object, path: str) -> list[FieldError]:
    text = version.get("deprecationWarning")
    if text is None:
        return []
    field = f"{path}.deprecationWarning"
    if not version.get("deprecated"):
        return [invalid(field, text, "can only be set for deprecated versions")]
    if len(text.encode()) > 256:
        return [invalid(field, text, "must be <= 256 characters long")]
    if not text:
        return [invalid(field, text, "must not be an empty string")]
    for index, char in enumerate(text):
        if not char.isprintable():
            why = f"must only contain printable UTF-8 characters; non-printable character found at index {index}"
            return [invalid(field, text, why)]
    return []


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


def _invalid(field: str, value: Any, detail: str) -> FieldError:
    quoted = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return FieldError("FieldValueInvalid", field, f"Invalid value: {quoted}: {detail}")


def _names(defined: Object, path: str) -> list[FieldError]:
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


def _schema(schema: Object, path: str, has_status: bool, unchanged: bool) -> list[FieldError]:
    raw = schema.get("openAPIV3Schema")
    if raw is None:
        return []
    return SchemaCheck(f"{path}.openAPIV3Schema", raw, has_status=has_status, unchanged=unchanged).causes()


def _subresources(subresources: Object | None, path: str) -> list[FieldError]:
    scale = (subresources or {}).get("scale")
    if not scale:
        return []
    causes: list[FieldError] = []
    for field, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        text, at = scale.get(field) or "", f"{path}.scale.{field}"
        if not text:
            causes.append(required(at))
        elif problems := _simple_path(at, text):
            causes += problems
        elif not text.startswith(prefix):
            causes.append(invalid(at, text, f"should be a json path under {prefix[:-1]}"))
    text, at = scale.get("labelSelectorPath") or "", f"{path}.scale.labelSelectorPath"
    if text and not (problems := _simple_path(at, text)):
        if not text.startswith((".spec.", ".status.")):
            causes.append(invalid(at, text, "should be a json path under either .spec or .status"))
    elif text:
        causes += problems
    return causes


def _simple_path(at: str, text: str) -> list[FieldError]:
    return [] if text.startswith(".") else [invalid(at, text, "must be a simple json path starting with .")]


def _columns(columns: Any, path: str) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, column in enumerate(columns):
        at = f"{path}[{index}]"
        if not column.get("name"):
            causes.append(required(f"{at}.name"))
        type, format = column.get("type") or "", column.get("format") or ""
        text = f"must be one of {','.join(_COLUMN_TYPES)}"
        if not type:
            causes.append(required(f"{at}.type", text))
        elif type not in _COLUMN_TYPES:
            causes.append(invalid(f"{at}.type", type, text))
        if format and format not in _COLUMN_FORMATS:
            causes.append(invalid(f"{at}.format", format, f"must be one of {','.join(_COLUMN_FORMATS)}"))
        if not column.get("jsonPath"):
            causes.append(required(f"{at}.JSONPath"))
        else:
            causes += _simple_path(f"{at}.JSONPath", column["jsonPath"])
    return causes


def _selectable(fields: Any, raw: Raw, path: str) -> list[FieldError]:
    root = Node(raw)
    causes: list[FieldError] = []
    seen = set()
    for index, field in enumerate(fields):
        at, text = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not text:
            causes.append(required(at))
            continue
        try:
            found = resolve(text, root, brackets=False)
        except PathProblem as problem:
            causes.append(invalid(at, text, f"is an invalid path: {problem}"))
            continue
        if found.keys[:1] == ("metadata",):
            causes.append(invalid(at, text, "must not point to fields in metadata"))
        if found.node.type not in ("string", "boolean", "integer"):
            why = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            causes.append(invalid(at, text, why))
        if found.text in seen:
            causes.append(duplicate(at, text))
        seen.add(found.text)
    if len(seen) > _MAX_SELECTABLE:
        causes.append(too_many(path, len(seen), _MAX_SELECTABLE))
    return causes


def _conversion(conversion: Object | None) -> list[FieldError]:
    if conversion is None:
        return []
    path, at = "spec.conversion", "spec.conversion.webhookClientConfig"
    strategy = conversion.get("strategy") or ""
    causes = (
        [required(f"{path}.strategy")] if not strategy else one_of(f"{path}.strategy", strategy, ("None", "Webhook"))
    )
    webhook = conversion.get("webhook") or {}
    client, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        text = "should not be set when strategy is not set to Webhook"
        causes += [forbidden(at, text)] if client else []
        return causes + ([forbidden(f"{path}.conversionReviewVersions", text)] if reviews else [])
    if client is None:
        causes.append(required(at, "required when strategy is set to Webhook"))
    elif bool(client.get("url")) == bool(client.get("service")):
        causes.append(required(at, "exactly one of url or service is required"))
    elif service := client.get("service"):
        causes += [required(f"{at}.service.{name}") for name in ("name", "namespace") if not service.get(name)]
        if not 1 <= (service.get("port") or 443) <= 65535:
            text = "port is not valid: must be between 1 and 65535, inclusive"
            causes.append(invalid(f"{at}.service.port", service["port"], text))
    elif not client["url"].startswith("https://"):
        text = "'https' is the only allowed URL scheme; desired format: https://host[/path]"
        causes.append(invalid(f"{at}.url", re.match(r"[^:]*", client["url"])[0], text))  # type: ignore[index]
    if not reviews:
        causes.append(required(f"{path}.conversionReviewVersions"))
    elif not set(reviews) & set(_REVIEWS):
        text = f"must include at least one of {', '.join(_REVIEWS)}"
        causes.append(invalid(f"{path}.conversionReviewVersions", reviews, text))
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


def _approval(obj: Object, old: Object | None) -> list[FieldError]:
    """Groups of Kubernetes itself need a review, or the word ``unapproved``."""
    group = obj["spec"].get("group") or ""
    if not (group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))):
        return []
    found = (obj["metadata"].get("annotations") or {}).get(_APPROVED)
    if old is not None and found == (old["metadata"].get("annotations") or {}).get(_APPROVED):
        return []
    path = f"metadata.annotations[{_APPROVED}]"
    if not found:
        text = (
            "protected groups must have approval annotation "
            f'"{_APPROVED}", see https://github.com/kubernetes/enhancements/pull/1111'
        )
        return [required(path, text)]
    if found.startswith("unapproved") or re.match(r"https?://[^/]+", found):
        return []
    text = (
        f'protected groups must have approval annotation "{_APPROVED}" with either a URL or a reason starting with '
        '"unapproved", see https://github.com/kubernetes/enhancements/pull/1111'
    )
    return [invalid(path, found, text)]


def _preserving(obj: Object, old: Object | None) -> list[FieldError]:
    if (old and old["spec"].get("preserveUnknownFields")) or not obj["spec"].get("preserveUnknownFields"):
        return []
    text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
    return [invalid("spec.preserveUnknownFields", True, text)]
