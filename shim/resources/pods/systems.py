"""What the operating system a pod is for rules out, and what Windows asks of its own options."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, named, one_of, required

_POD_OF_LINUX = (
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)
_PLAIN = ("hostPID", "hostIPC")  # false is as good as unset where Go has a plain bool
_CONTAINER_OF_LINUX = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)
_NOT_ON_WINDOWS = "cannot be set for a windows pod"
_NOT_ON_LINUX = "windows options cannot be set for a linux pod"
_SPEC_LIMIT = 64 * 1024
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_DOMAIN_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*")
_NET_BIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DOMAIN_LIMIT, _USER_LIMIT = 256, 104
_NOT_IN_USERS = r'"/\:;|=,+*?<>@[]'


def _contexts(at: str, spec: Object) -> Iterator[tuple[str, Object]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            if container.get("securityContext"):
                yield f"{at}.{field}[{index}].securityContext", container["securityContext"]


def system(at: str, spec: Object) -> list[FieldError]:
    """``os``, and what must not be set for it."""
    found = spec.get("os")
    if found is None:
        return []
    name = found.get("name") or ""
    causes = one_of(f"{at}.os", name, ("linux", "windows")) if name else [required(f"{at}.os.name")]
    context = spec.get("securityContext") or {}
    if name == "linux":
        places = [(f"{at}.securityContext", context), *_contexts(at, spec)]
        causes += [
            forbidden(f"{here}.windowsOptions", _NOT_ON_LINUX)
            for here, each in places
            if each.get("windowsOptions") is not None
        ]
    elif name == "windows":
        for path in _POD_OF_LINUX:
            *inside, field = path.split(".")
            value = (context if inside else spec).get(field)
            if value if field in _PLAIN else value is not None:
                causes.append(forbidden(f"{at}.{path}", _NOT_ON_WINDOWS))
        causes += [
            forbidden(f"{here}.{field}", _NOT_ON_WINDOWS)
            for here, each in _contexts(at, spec)
            for field in _CONTAINER_OF_LINUX
            if each.get(field) is not None
        ]
    return causes


def windows_options(at: str, options: Object | None) -> list[FieldError]:
    """Who a Windows process runs as."""
    if not options:
        return []
    causes: list[FieldError] = []
    name, spec, user = (
        options.get(field) for field in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName")
    )
    if name is not None:
        causes += named(f"{at}.gmsaCredentialSpecName", name, names.dns1123_subdomain)
    here = f"{at}.gmsaCredentialSpec"
    if spec == "":
        causes.append(invalid(here, spec, "gmsaCredentialSpec cannot be an empty string"))
    elif spec is not None and len(spec.encode()) > _SPEC_LIMIT:
        causes.append(invalid(here, spec, f"gmsaCredentialSpec size must be under {_SPEC_LIMIT // 1024} KiB"))
    return causes + (_user(f"{at}.runAsUserName", user) if user is not None else [])


def _user(at: str, name: str) -> list[FieldError]:
    """``DOMAIN\\\\user`` or ``user``."""
    if not name:
        return [invalid(at, name, "runAsUserName cannot be an empty string")]
    if _CONTROL.search(name):
        return [invalid(at, name, "runAsUserName cannot contain control characters")]
    parts = name.split("\\")
    if len(parts) > 2:
        return [invalid(at, name, "runAsUserName cannot contain more than one backslash")]
    domain, user = (parts[0] if len(parts) == 2 else None), parts[-1]
    complaints: list[str] = []
    if domain is not None:
        if len(domain) >= _DOMAIN_LIMIT:
            complaints.append(f"Domain length must be under {_DOMAIN_LIMIT} characters")
        if not _NET_BIOS.fullmatch(domain) and not _DOMAIN.fullmatch(domain):
            complaints.append("Domain doesn't match the NetBios nor the DNS format")
    if not user:
        complaints.append("User cannot be empty")
    elif len(user) > _USER_LIMIT:
        complaints.append(f"User length must not be longer than {_USER_LIMIT} characters")
    if user and not user.strip(". "):
        complaints.append("User cannot contain only periods or spaces")
    if set(user) & set(_NOT_IN_USERS):
        complaints.append(f"User cannot contain the following characters: {_NOT_IN_USERS}")
    return [invalid(at, name, f"runAsUserName's {complaint}") for complaint in complaints]


def host_processes(at: str, spec: Object) -> list[FieldError]:
    """Containers that are processes of a Windows node: all of a pod's, or none."""

    def is_host_process(context: Object | None) -> bool | None:
        value = ((context or {}).get("windowsOptions") or {}).get("hostProcess")
        return None if value is None else bool(value)

    whole = is_host_process(spec.get("securityContext"))
    causes: list[FieldError] = []
    count = total = 0
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            total += 1
            own = is_host_process(container.get("securityContext"))
            if whole is not None and own is not None and own != whole:
                here = f"{at}.{field}[{index}].securityContext.windowsOptions.hostProcess"
                text = f"pod hostProcess value must be identical if both are specified, was {str(whole).lower()}"
                causes.append(invalid(here, own, text))
            count += bool(own if own is not None else whole)
    if not count:
        return causes
    if count != total:
        text = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        causes.append(invalid(at, "", text))
    if not spec.get("hostNetwork"):
        text = "hostNetwork must be true if pod contains any hostProcess containers"
        causes.append(invalid(f"{at}.hostNetwork", False, text))
    return causes
