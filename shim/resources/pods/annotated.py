"""Annotations that mean something to a pod: static pods' own mark, and fields of today as they were first written.

AppArmor and seccomp profiles began as annotations (KEP-24, KEP-135). They are still checked, must agree with the
fields where both are there, and an AppArmor annotation alone is written into its container's field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid
from shim.resources.pods.sources import local_path

_MIRROR = "kubernetes.io/config.mirror"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_COST = re.compile("0|[1-9][0-9]*|-[0-9]+")
_INT32 = range(-(2**31), 2**31)
_LOCALHOST = "localhost/"


class _Profiles(NamedTuple):
    """How one kind of profile is written in annotations."""

    word: str
    field: str
    container: str  # before a container's name
    defaults: tuple[str, ...]


_APP_ARMOR = _Profiles(
    "apparmor", "appArmorProfile", "container.apparmor.security.beta.kubernetes.io/", ("runtime/default",)
)
_SECCOMP = _Profiles(
    "seccomp",
    "seccompProfile",
    "container.seccomp.security.alpha.kubernetes.io/",
    ("runtime/default", "docker/default"),
)
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"


def _containers(spec: Object) -> Iterator[tuple[str, Object]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield f"{field}[{index}]", container


def rules(at: str, annotations: Mapping[str, str] | None, spec: Object) -> list[FieldError]:
    """What a pod, or a template, may say in them."""
    if not annotations:
        return []
    causes: list[FieldError] = []
    if _MIRROR in annotations and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        causes.append(invalid(f"{at}[{_MIRROR}]", annotations[_MIRROR], text))
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not (_COST.fullmatch(cost) and int(cost) in _INT32):
        causes.append(invalid(f"{at}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    for key, profile in annotations.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP.container):
            causes += _seccomp(f"{at}.{key}", profile)
    for key, profile in annotations.items():
        if key.startswith(_APP_ARMOR.container):
            name = key.removeprefix(_APP_ARMOR.container)
            if all(container.get("name") != name for _, container in _containers(spec)):
                causes.append(invalid(f"{at}[{key}]", name, "container not found"))
            if profile not in ("", "unconfined", *_APP_ARMOR.defaults) and not profile.startswith(_LOCALHOST):
                text = f'invalid AppArmor profile name: "{profile}"'
                causes.append(invalid(f"{at}[{key}]", profile, text))
    return causes


def _seccomp(at: str, profile: str) -> list[FieldError]:
    if profile == "unconfined" or profile in _SECCOMP.defaults:
        return []
    if profile.startswith(_LOCALHOST):
        return local_path(at, profile.removeprefix(_LOCALHOST))
    return [invalid(at, profile, "must be a valid seccomp profile")]


def agreement(at: str, annotations: Mapping[str, str] | None, spec: Object) -> list[FieldError]:
    """Where a profile stands in an annotation and in a field, both must say the same; ``at`` is the spec's path."""
    if not annotations:
        return []
    context = spec.get("securityContext") or {}
    causes = _agree(_SECCOMP, f"{at}.securityContext", annotations.get(_SECCOMP_POD), context.get("seccompProfile"))
    for kind, inherited in ((_SECCOMP, None), (_APP_ARMOR, context.get(_APP_ARMOR.field))):
        if kind is _APP_ARMOR and (spec.get("os") or {}).get("name") == "windows":
            continue
        for where, container in _containers(spec):
            own = (container.get("securityContext") or {}).get(kind.field)
            told = annotations.get(f"{kind.container}{container.get('name') or ''}")
            causes += _agree(kind, f"{at}.{where}.securityContext", told, inherited if own is None else own)
    return causes


def _agree(kind: _Profiles, at: str, told: str | None, profile: Object | None) -> list[FieldError]:
    if told is None or profile is None:
        return []
    wanted, at = profile.get("type"), f"{at}.{kind.field}"
    if wanted == "Localhost" and told.startswith(_LOCALHOST):
        if told.removeprefix(_LOCALHOST) == profile.get("localhostProfile"):
            return []
        return [forbidden(f"{at}.localhostProfile", f"{kind.word} profile in annotation and field must match")]
    same = {"Unconfined": ("unconfined",), "RuntimeDefault": kind.defaults, "Localhost": ()}.get(wanted or "")
    if same is None or told in same:
        return []
    return [forbidden(f"{at}.type", f"{kind.word} type in annotation and field must match")]


def changed(new: Object, old: Object) -> list[FieldError]:
    """What a node makes of static pods, and the profiles of older releases, do not change; the rest is checked anew."""
    now, was = (of["metadata"].get("annotations") or {} for of in (new, old))
    if now == was:
        return []
    causes: list[FieldError] = []
    for key in [*was, *(key for key in now if key not in was)]:
        what = "AppArmor annotations" if key.startswith(_APP_ARMOR.container) else "mirror pod annotation"
        if now.get(key) != was.get(key) and (key.startswith(_APP_ARMOR.container) or key == _MIRROR):
            verb = "remove or update" if key in was else "add"
            causes.append(forbidden(f"metadata.annotations[{key}]", f"may not {verb} {what}"))
    return causes + rules("metadata.annotations", now, new["spec"])


def app_armor_profile(told: str) -> Object | None:
    """The field that says what an annotation says; None of one that says nothing."""
    if told == "unconfined":
        return {"type": "Unconfined"}
    if told in _APP_ARMOR.defaults:
        return {"type": "RuntimeDefault"}
    name = told.removeprefix(_LOCALHOST)
    return {"type": "Localhost", "localhostProfile": name} if name and name != told else None


def write_profiles(pod: Object) -> None:
    """Give containers of a new pod the AppArmor profiles that stand in its annotations alone."""
    spec, told = pod["spec"], pod["metadata"].get("annotations") or {}
    if not told or (spec.get("os") or {}).get("name") == "windows":
        return
    whole = (spec.get("securityContext") or {}).get(_APP_ARMOR.field)
    for _, container in _containers(spec):
        key = f"{_APP_ARMOR.container}{container.get('name') or ''}"
        if key in told and (container.get("securityContext") or {}).get(_APP_ARMOR.field) is None:
            profile = app_armor_profile(told[key])
            name = (profile or {}).get("localhostProfile", "")
            if profile is not None and profile != whole and name == name.strip() and len(name) <= _LONGEST_PROFILE:
                container["securityContext"] = {**(container.get("securityContext") or {}), _APP_ARMOR.field: profile}


def warnings(at: str, annotations: Mapping[str, str] | None, spec: Object) -> list[str]:
    """Which of them are of no use any more; ``at`` is what stands before ``metadata`` (nothing for a pod itself)."""
    if not annotations:
        return []
    at = f"{at}metadata.annotations"
    found = [f"{at}[{key}]: {text}" for key, text in _GONE.items() if key in annotations]
    context = spec.get("securityContext") or {}
    if _SECCOMP_POD in annotations and context.get(_SECCOMP.field) is None:
        found.append(f"{at}[{_SECCOMP_POD}]: {_GONE_SECCOMP}")
    for _, container in _containers(spec):
        own, name = container.get("securityContext") or {}, container.get("name") or ""
        key = f"{_SECCOMP.container}{name}"
        if key in annotations and own.get(_SECCOMP.field) is None:
            found.append(f"{at}[{key}]: {_GONE_SECCOMP}")
        key = f"{_APP_ARMOR.container}{name}"
        if key in annotations and own.get(_APP_ARMOR.field) is None:
            whole = context.get(_APP_ARMOR.field)
            if whole is None or whole != app_armor_profile(annotations[key]):
                found.append(f'{at}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead')
    return found


_LONGEST_PROFILE = 4095  # bytes of a path
_GONE_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_GONE = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
