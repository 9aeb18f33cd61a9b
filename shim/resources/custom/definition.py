"""CustomResourceDefinitions as a kind: what is filled in, what an update may change, how they begin and end.

What else is refused of one stands in :mod:`~shim.resources.custom.definition_rules` and what that uses.
"""

from __future__ import annotations

from shim.api import conditions, names
from shim.api.meta import Object, now
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import immutable, invalid, required
from shim.resources.custom.approval import ANNOTATION, approval_of, said
from shim.resources.custom.definition_rules import check_names, check_spec
from shim.resources.custom.formats import unrecognized
from shim.resources.strategy import Strategy

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


class DefinitionStrategy(Strategy):
    """Definitions; the server itself follows them and serves what they define (:mod:`shim.server.custom`)."""

    has_status = True
    allow_unconditional_update = False

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
        if "status" in obj and not (obj["status"] or {}).get("storedVersions"):
            obj["status"] = {**(obj["status"] or {}), "storedVersions": _stored(spec)}
        webhook = spec["conversion"].get("webhook") or {}
        if webhook.get("clientConfig") is None and not webhook.get("conversionReviewVersions"):
            spec["conversion"].pop("webhook", None)  # which says nothing
        client = webhook.get("clientConfig") or {}
        if client.get("service") and client["service"].get("port") is None:
            client["service"]["port"] = 443

    def initial_status(self, obj: Object) -> Object:
        stored = _stored(obj["spec"])
        return {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        status = new.get("status") or {}
        if not status.get("storedVersions"):  # there is always one
            new["status"] = {**status, "storedVersions": _stored(new["spec"])}

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
            *check_spec(obj, None),
            *_approval(obj, None),
            *_preserving(obj, None),
        ]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        causes = [*metadata.validate_update(new, old, any_finalizer=True), *check_spec(new, old)]
        spec, before = new["spec"], old["spec"]
        if conditions.is_true(old, "Established"):
            causes += immutable("spec.scope", spec.get("scope"), before.get("scope"))
            causes += immutable("spec.names.kind", spec["names"].get("kind"), before["names"].get("kind"))
        causes += immutable("spec.group", spec.get("group"), before.get("group"))
        causes += immutable("spec.names.plural", spec["names"].get("plural"), before["names"].get("plural"))
        return [*causes, *_approval(new, old), *_preserving(new, old)]

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        accepted = (new.get("status") or {}).get("acceptedNames") or {}
        return [*metadata.validate_update(new, old, any_finalizer=True), *check_names(accepted, "status.acceptedNames")]

    def warnings(self, obj: Object) -> list[str]:
        return [f'unrecognized format "{format}"' for format in _unrecognized(obj)]

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        """Of what was there before nobody is warned again."""
        known = _unrecognized(old)
        return [f'unrecognized format "{format}"' for format in _unrecognized(new) if format not in known]


def _stored(spec: Object) -> list[str] | None:
    """The versions that objects are stored in, as far as the definition says: None where it says nothing."""
    return [each.get("name") or "" for each in spec.get("versions") or () if each.get("storage")][:1] or None


def _unrecognized(obj: Object) -> list[str]:
    found: dict[str, None] = {}
    for version in obj["spec"].get("versions") or ():
        found |= dict.fromkeys(sorted(unrecognized((version.get("schema") or {}).get("openAPIV3Schema") or {})))
    return list(found)


def _approval(obj: Object, old: Object | None) -> list[FieldError]:
    """Groups of Kubernetes itself need a review, or the word ``unapproved``."""
    found = approval_of(obj)
    if found is None or found.admitted or (old is not None and said(obj) == said(old)):
        return []
    path = f"metadata.annotations[{ANNOTATION}]"
    return [invalid(path, said(obj), found.message) if said(obj) else required(path, found.message)]


def _preserving(obj: Object, old: Object | None) -> list[FieldError]:
    if (old and old["spec"].get("preserveUnknownFields")) or not obj["spec"].get("preserveUnknownFields"):
        return []
    text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
    return [invalid("spec.preserveUnknownFields", True, text)]
