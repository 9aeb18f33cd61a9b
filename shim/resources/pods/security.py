"""Security contexts of pods and containers."""

from __future__ import annotations

import re
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import as_go, duplicate, forbidden, invalid, one_of, required, too_long
from shim.resources.pods.sources import descending_path
from shim.resources.pods.systems import windows_options

_MAX_ID = 2**31 - 1
_SYSCTL = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_SYSCTL_MAX = 253
_PATH_MAX = 4095
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


_GO_STRUCTS = {
    "capabilities": ("add", "drop"),
    "seccompProfile": ("type", "localhostProfile"),
    "appArmorProfile": ("type", "localhostProfile"),
}


def _as_go(field: str, value: Any) -> Any:
    return as_go(value, *_GO_STRUCTS[field]) if field in _GO_STRUCTS else value


def _id(at: str, value: Any) -> list[FieldError]:
    if value is None:
        return []
    return [invalid(at, value, text) for text in names.in_range(value, 0, _MAX_ID)]


_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def _seccomp(at: str, profile: Object | None) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    what = "type is required when seccompProfile is set"
    causes = one_of(f"{at}.type", kind, _PROFILES) if kind else [required(f"{at}.type", what)]
    here = f"{at}.localhostProfile"
    if kind != "Localhost":
        if local is not None:
            shown = {"Type": kind, "LocalhostProfile": local}
            causes.append(invalid(here, shown, "can only be set when seccomp type is Localhost"))
    elif local is None:
        causes.append(required(here, "must be set when seccomp type is Localhost"))
    else:
        causes += descending_path(here, local)
    return causes


def _app_armor(at: str, profile: Object | None) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    here = f"{at}.localhostProfile"
    if not kind:
        return [required(f"{at}.type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILES:
        return one_of(f"{at}.type", kind, _PROFILES)
    if kind != "Localhost":
        text = "can only be set when AppArmor type is Localhost"
        return [] if local is None else [invalid(here, local, text)]
    missing = required(here, "must be set when AppArmor type is Localhost")
    if local is None:
        return [missing]
    causes = [invalid(here, local, "must not be padded with whitespace")] if local != local.strip() else []
    if not local:
        causes.append(missing)
    return [*causes, too_long(here, _PATH_MAX)] if len(local) > _PATH_MAX else causes


def container(at: str, context: Object | None, host_users: bool) -> list[FieldError]:
    if not context:
        return []
    causes = _id(f"{at}.runAsUser", context.get("runAsUser")) + _id(f"{at}.runAsGroup", context.get("runAsGroup"))
    mount = context.get("procMount")
    if mount is not None:
        causes += one_of(f"{at}.procMount", mount, ("Default", "Unmasked"))
        if mount == "Unmasked" and host_users:
            causes.append(invalid(f"{at}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    causes += _seccomp(f"{at}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        text = "cannot set `allowPrivilegeEscalation` to false and"
        shown = {go: _as_go(field, context.get(field)) for field, go in _GO_FIELDS.items()}
        if context.get("privileged"):
            causes.append(invalid(at, shown, f"{text} `privileged` to true"))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            causes.append(invalid(at, shown, f"{text} `capabilities.Add` CAP_SYS_ADMIN"))
    causes += windows_options(f"{at}.windowsOptions", context.get("windowsOptions"))
    return causes + _app_armor(f"{at}.appArmorProfile", context.get("appArmorProfile"))


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
        ("seLinuxChangePolicy", ("Recursive",)),
    ):
        if context.get(field) is not None:
            causes += one_of(f"{at}.{field}", context[field], supported)
    causes += _seccomp(f"{at}.seccompProfile", context.get("seccompProfile"))
    causes += windows_options(f"{at}.windowsOptions", context.get("windowsOptions"))
    return causes + _app_armor(f"{at}.appArmorProfile", context.get("appArmorProfile"))


def host_users(at: str, spec: Object) -> list[FieldError]:
    """A pod with users of its own cannot have the host's other namespaces."""
    if spec.get("hostUsers") is not False:
        return []
    text = "when `hostUsers` is false"
    # upstream writes two of the paths as Go does
    found = (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC"))
    causes = [forbidden(f"{at}.{told}", text) for field, told in found if spec.get(field)]
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            if container.get("volumeDevices"):
                causes.append(forbidden(f"{at}.{field}[{index}].volumeDevices", text))
    return causes
