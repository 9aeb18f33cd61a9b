"""What a pod must say at the level ``restricted``: that it gives up what it could do without. Pure."""

from __future__ import annotations

from shim.admission.pod_security.baseline import beyond
from shim.admission.pod_security.baseline import seccomp as baseline_seccomp
from shim.admission.pod_security.words import Annotations, Refusal, named, names_of, plural, quoted, security, setters
from shim.api.meta import Object


def escalation(_: Annotations, spec: Object) -> Refusal | None:
    names = names_of(spec, lambda container: security(container).get("allowPrivilegeEscalation") is not False)
    text = f"{named(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Refusal("allowPrivilegeEscalation != false", text) if names else None


def capabilities(_: Annotations, spec: Object) -> Refusal | None:
    keeping = names_of(
        spec, lambda container: "ALL" not in ((security(container).get("capabilities") or {}).get("drop") or ())
    )
    details = [f'{named(keeping)} must set securityContext.capabilities.drop=["ALL"]'] if keeping else []
    if more := beyond(spec, frozenset(("NET_BIND_SERVICE",))):
        details.append(more)
    return Refusal("unrestricted capabilities", "; ".join(details)) if details else None


_FREE_VOLUMES = frozenset(
    "configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret".split()
)


def _volume_kind(volume: Object) -> str:
    return next((key for key, value in volume.items() if key != "name" and value is not None), "unknown")


def volumes(_: Annotations, spec: Object) -> Refusal | None:
    bad = [each for each in spec.get("volumes") or () if _volume_kind(each) not in _FREE_VOLUMES]
    if not bad:
        return None
    names = [each.get("name", "") for each in bad]
    kinds = sorted(set(map(_volume_kind, bad)))
    verb = "uses" if len(names) == 1 else "use"
    detail = f"{plural('volume', names)} {quoted(names)} {verb} {plural('restricted volume type', kinds)}"
    return Refusal("restricted volume types", f"{detail} {quoted(kinds)}")


def _must_say(spec: Object, field: str) -> list[str]:
    """Containers that neither say nor have said for them, by the pod, what must be said."""
    if security(spec).get(field) is not None:
        return []
    return names_of(spec, lambda container: security(container).get(field) is None)


def non_root(_: Annotations, spec: Object) -> Refusal | None:
    reason = "runAsNonRoot != true"
    if who := setters(spec, lambda context: context.get("runAsNonRoot") is False):
        return Refusal(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    if names := _must_say(spec, "runAsNonRoot"):
        return Refusal(reason, f"pod or {named(names)} must set securityContext.runAsNonRoot=true")
    return None


def user(_: Annotations, spec: Object) -> Refusal | None:
    who = setters(spec, lambda context: context.get("runAsUser") == 0)
    return Refusal("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def seccomp(annotations: Annotations, spec: Object) -> Refusal | None:
    if bad := baseline_seccomp(annotations, spec):
        return bad
    if names := _must_say(spec, "seccompProfile"):
        text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        return Refusal("seccompProfile", f"pod or {named(names)} {text}")
    return None
