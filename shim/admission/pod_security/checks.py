"""Which checks does a standard make? One rule per check, each as of the versions that changed it. Pure.

A check returns why a pod is refused: a reason for all pods like it, and details of this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from shim.admission.pod_security import baseline, restricted
from shim.admission.pod_security.policy import BASELINE, PRIVILEGED, RESTRICTED, Standard
from shim.admission.pod_security.words import Annotations, Check, Refusal, on_linux, with_host_users
from shim.api.meta import Object


@dataclass(frozen=True, slots=True)
class Rule:
    """A check of a level, by the minor version since which it is so; ``instead`` is a baseline rule it includes."""

    name: str
    level: str
    versions: tuple[tuple[int, Check], ...]
    instead: str = ""

    def at(self, minor: int) -> Check | None:
        return next((check for since, check in reversed(self.versions) if since <= minor), None)


def refusals(standard: Standard, annotations: Annotations | None, spec: Object) -> list[Refusal]:
    """Everything that keeps a pod from meeting a standard."""
    if standard.level == PRIVILEGED:
        return []
    found = (check(annotations or {}, spec) for check in _checks(standard.level, standard.minor))
    return [each for each in found if each is not None]


@lru_cache(maxsize=256)
def _checks(level: str, minor: int | None) -> tuple[Check, ...]:
    minor = NEWEST if minor is None else min(minor, NEWEST)
    rules = [rule for rule in RULES if level == RESTRICTED or rule.level == BASELINE]
    checks = {rule.name: check for rule in rules if (check := rule.at(minor))}
    replaced = {rule.instead for rule in rules if rule.name in checks}
    return tuple(check for name, check in checks.items() if name not in replaced)


RULES = (
    Rule("appArmorProfile", BASELINE, ((0, baseline.apparmor),)),
    Rule("capabilities_baseline", BASELINE, ((0, baseline.capabilities),)),
    Rule("hostNamespaces", BASELINE, ((0, baseline.host_namespaces),)),
    Rule("hostPathVolumes", BASELINE, ((0, baseline.host_paths),)),
    Rule("hostPorts", BASELINE, ((0, baseline.host_ports),)),
    Rule("hostProbesAndHostLifecycle", BASELINE, ((34, baseline.probe_hosts),)),
    Rule("privileged", BASELINE, ((0, baseline.privileged),)),
    Rule("procMount", BASELINE, ((0, baseline.proc_mount), (35, with_host_users(baseline.proc_mount)))),
    Rule(
        "seLinuxOptions",
        BASELINE,
        ((0, baseline.selinux(baseline.SELINUX)), (31, baseline.selinux(baseline.SELINUX | {"container_engine_t"}))),
    ),
    Rule("seccompProfile_baseline", BASELINE, ((0, baseline.seccomp_annotations), (19, baseline.seccomp))),
    Rule(
        "sysctls",
        BASELINE,
        (
            (0, baseline.sysctls(baseline.SAFE_SYSCTLS)),
            (27, baseline.sysctls(baseline.SINCE_27)),
            (29, baseline.sysctls(baseline.SINCE_29)),
            (32, baseline.sysctls(baseline.SINCE_32)),
        ),
    ),
    Rule("windowsHostProcess", BASELINE, ((0, baseline.host_process),)),
    Rule("allowPrivilegeEscalation", RESTRICTED, ((8, restricted.escalation), (25, on_linux(restricted.escalation)))),
    Rule(
        "capabilities_restricted",
        RESTRICTED,
        ((22, restricted.capabilities), (25, on_linux(restricted.capabilities))),
        instead="capabilities_baseline",
    ),
    Rule("procMount_restricted", RESTRICTED, ((35, baseline.proc_mount),), instead="procMount"),
    Rule("restrictedVolumes", RESTRICTED, ((0, restricted.volumes),), instead="hostPathVolumes"),
    Rule("runAsNonRoot", RESTRICTED, ((0, restricted.non_root), (35, with_host_users(restricted.non_root)))),
    Rule("runAsUser", RESTRICTED, ((23, restricted.user), (35, with_host_users(restricted.user)))),
    Rule(
        "seccompProfile_restricted",
        RESTRICTED,
        ((19, restricted.seccomp), (25, on_linux(restricted.seccomp))),
        instead="seccompProfile_baseline",
    ),
)
"""In the order in which refusals are told."""

NEWEST = max(since for rule in RULES for since, _ in rule.versions)
