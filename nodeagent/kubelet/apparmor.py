"""AppArmor: this engine loads and applies no profile, so who depends on one may not run here. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nodeagent.kubelet.names import containers_of
from nodeagent.kubelet.status import Verdict
from shim.api.meta import Object

_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"  # how it was asked for before 1.30


def refusal(pod: Object, *, enabled: bool) -> Verdict | None:
    """Why the pod may not run here. ``enabled``: in the kernel; what runs by the runtime's default then has none."""
    asked = {kind for kind in _asked(pod) if kind != "Unconfined"}
    if asked and not enabled:
        return _refused("AppArmor is not enabled on the host")
    if asked - {"RuntimeDefault"}:
        return _refused("this node applies no profiles")
    return None


def _asked(pod: Object) -> Iterator[str]:
    for holder in (pod["spec"], *(container for _, container in containers_of(pod))):
        if profile := (holder.get("securityContext") or {}).get("appArmorProfile"):
            yield str(profile.get("type"))
    words = {"unconfined": "Unconfined", "runtime/default": "RuntimeDefault"}
    for key, value in (pod["metadata"].get("annotations") or {}).items():
        if key.startswith(_ANNOTATION):
            yield words.get(value, "Localhost")


def _refused(why: str) -> Verdict:
    return Verdict("AppArmor", f"Cannot enforce AppArmor: {why}")
