"""Who may define resources in Kubernetes' own groups: those that say where that was approved, or that it was not.

See https://github.com/kubernetes/enhancements/pull/1111.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from shim.api.meta import Object

ANNOTATION = "api-approved.kubernetes.io"
CONDITION = "KubernetesAPIApprovalPolicyConformant"
_GROUPS = ("k8s.io", "kubernetes.io")
_RULE = f'protected groups must have approval annotation "{ANNOTATION}"'
_MORE = "see https://github.com/kubernetes/enhancements/pull/1111"


class Approval(NamedTuple):
    """As a condition tells it; ``admitted``: a definition may be made with it."""

    status: str
    reason: str
    message: str
    admitted: bool


def said(crd: Object) -> str:
    """What a definition says of its approval; empty where it says nothing."""
    return (crd["metadata"].get("annotations") or {}).get(ANNOTATION) or ""


def approval_of(crd: Object) -> Approval | None:
    """Whether a definition was approved; None where its group needs no approval."""
    group = crd["spec"].get("group") or ""
    if not any(group == each or group.endswith(f".{each}") for each in _GROUPS):
        return None
    if not (told := said(crd)):
        return Approval("False", "MissingAnnotation", f"{_RULE}, {_MORE}", admitted=False)
    if told.startswith("unapproved"):
        return Approval("False", "UnapprovedAnnotation", f'not approved: "{told}"', admitted=True)
    if _is_url(told):
        return Approval("True", "ApprovedAnnotation", f"approved in {told}", admitted=True)
    message = f'{_RULE} with either a URL or a reason starting with "unapproved", {_MORE}'
    return Approval("False", "InvalidAnnotation", message, admitted=False)


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return bool(url.scheme and url.hostname)
