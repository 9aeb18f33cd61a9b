"""Security contexts of pods and containers."""

from __future__ import annotations

import re
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import duplicate, forbidden, invalid, one_of, required

_MAX_ID = 2**31 - 1
_SYSCTL = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_SYSCTL_MAX = 253
_GO_FIELDS = {
    # a container's security context as messages print it: upstream's own names, everything unset as null
    "capabilities": "Capabilities",
    "privileged": "Privileged",
    "seLinuxOptions": "SELinuxOptions",
    "windowsOptions": "WindowsOptions",
    "runAsUser": "RunAsUser",
    "runAsGroup": "RunAsGroup",
    "runAsNonRoot": "RunAsNonRoot",
    "readOnlyRootFilesystem": "ReadOnlyRootFilesystem",
    "allowPrivilegeEscalation": "AllowPrivilegeEscalation",
    "procMount": "ProcMount",
    "seccompProfile": "SeccompProfile",
    "appArmorProfile": "AppArmorProfile",
}


def _id(at: str, value: Any) -> list[FieldError]:
    if value is None:
        return []
    return [invalid(at, value, text) for text in names.in_range(value, 0, _MAX_ID)]


def _profile(at: str, profile: Object | None) -> list[FieldError]:
    """Seccomp and AppArmor profiles: a type, and the name of a local one."""
    if not profile:
        return []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        return [required(f"{at}.type")]
    causes = one_of(f"{at}.type", kind, ("Localhost", "RuntimeDefault", "Unconfined"))
    if kind == "Localhost" and not local:
        text = f"must be set when {at.rpartition('.')[2]} type is Localhost"
        causes.append(required(f"{at}.localhostProfile", text))
    elif kind != "Localhost" and local:
        text = "can only be set when type is Localhost"
        causes.append(invalid(f"{at}.localhostProfile", local, text))
    return causes


def container(at: str, context: Object | None, host_users: bool) -> list[FieldError]:
    if not context:
        return []
    causes = _id(f"{at}.runAsUser", context.get("runAsUser")) + _id(f"{at}.runAsGroup", context.get("runAsGroup"))
    mount = context.get("procMount")
    if mount is not None:
        causes += one_of(f"{at}.procMount", mount, ("Default", "Unmasked"))
        if mount == "Unmasked" and host_users:
            causes.append(invalid(f"{at}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    causes += _profile(f"{at}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        text = "cannot set `allowPrivilegeEscalation` to false and"
        shown = {go: context.get(field) for field, go in _GO_FIELDS.items()}
        if context.get("privileged"):
            causes.append(invalid(at, shown, f"{text} `privileged` to true"))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            causes.append(invalid(at, shown, f"{text} `capabilities.Add` CAP_SYS_ADMIN"))
    return causes + _profile(f"{at}.appArmorProfile", context.get("appArmorProfile"))


def pod(at: str, spec: Object) -> list[FieldError]:
    """The pod's own context, and what of the host it shares."""
    context = spec.get("securityContext")
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        return [invalid(f"{at}.shareProcessNamespace", True, text)]
    if not context:
        return []
    causes: list[FieldError] = []
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        causes += _id(f"{at}.{field}", context.get(field))
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        causes += _id(f"{at}.supplementalGroups[{index}]", group)
    seen: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls") or ()):
        name, here = sysctl.get("name") or "", f"{at}.sysctls[{index}].name"
        if not name:
            causes.append(required(here))
        elif len(name) > _SYSCTL_MAX or not re.match(_SYSCTL, name):
            causes.append(invalid(here, name, f"must have at most {_SYSCTL_MAX} characters and match regex {_SYSCTL}"))
        elif name in seen:
            causes.append(duplicate(here, name))
        seen.add(name)
    for field, supported in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
    ):
        if context.get(field) is not None:
            causes += one_of(f"{at}.{field}", context[field], supported)
    causes += _profile(f"{at}.seccompProfile", context.get("seccompProfile"))
    return causes + _profile(f"{at}.appArmorProfile", context.get("appArmorProfile"))


def host_users(at: str, spec: Object) -> list[FieldError]:
    """A pod with users of its own cannot have the host's other namespaces."""
    if spec.get("hostUsers") is not False:
        return []
    text = "when `hostUsers` is false"
    found = ("hostNetwork", "hostPID", "hostIPC")
    return [forbidden(f"{at}.{field}", text) for field in found if spec.get(field)]
