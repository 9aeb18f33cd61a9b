"""What do a namespace's labels ask of its pods? A level in a version, for each of enforce, audit and warn. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from shim.api.status import FieldError

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
"""From the freest to the strictest."""
PRIVILEGED, BASELINE, RESTRICTED = LEVELS
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


class Standard(NamedTuple):
    """A level in the version of a Kubernetes release (its minor number; None: the newest)."""

    level: str = PRIVILEGED
    minor: int | None = None

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor is None else f'v1.{self.minor}'}"


class Policy(NamedTuple):
    """What a namespace enforces, notes in the audit log, and warns of."""

    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()

    @property
    def is_privileged(self) -> bool:
        return all(each.level == PRIVILEGED for each in self)


FREE = Policy()
"""Of a namespace without labels: nothing is asked."""


def policy_of(labels: Mapping[str, str] | None) -> tuple[Policy, list[FieldError]]:
    """The policy, and what is wrong with the labels: a bad label enforces the strictest, and warns of nothing."""
    if not labels or not any(label.startswith(PREFIX) for label in labels):
        return FREE, []
    found: dict[str, Standard] = {}
    causes: list[FieldError] = []
    for mode in Policy._fields:
        level, minor = PRIVILEGED, None
        text = labels.get(PREFIX + mode)
        if text is not None:
            level = text
            if text not in LEVELS:
                level = RESTRICTED if mode == "enforce" else PRIVILEGED
                causes.append(_invalid(PREFIX + mode, text, f"must be one of {', '.join(LEVELS)}"))
        version = labels.get(f"{PREFIX}{mode}-version", "latest")
        if match := _VERSION.fullmatch(version):
            minor = int(match[1])
        elif version != "latest":
            causes.append(_invalid(f"{PREFIX}{mode}-version", version, 'must be "latest" or "v1.x"'))
        found[mode] = Standard(level, minor)
    enforced = found["enforce"]
    if labels.get(PREFIX + "enforce") in (BASELINE, RESTRICTED) and PREFIX + "warn" not in labels:
        own = f"{PREFIX}warn-version" in labels
        found["warn"] = Standard(enforced.level, found["warn"].minor if own else enforced.minor)
    return Policy(**found), causes


def is_stricter(one: Standard, other: Standard) -> bool:
    return LEVELS.index(one.level) > LEVELS.index(other.level)


def _invalid(label: str, value: str, why: str) -> FieldError:
    return FieldError("FieldValueInvalid", f"metadata.labels[{label}]", f'Invalid value: "{value}": {why}')
