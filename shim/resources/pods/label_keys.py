"""Which pods are meant by ``matchLabelKeys``? Those with the pod's own values, written into the selectors at its birth.

So that one rollout's pods look for each other alone, although the template they come from cannot name it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shim.api.meta import Object

_PREFERRED, _REQUIRED = (
    "preferredDuringSchedulingIgnoredDuringExecution",
    "requiredDuringSchedulingIgnoredDuringExecution",
)
_OPERATORS = {"matchLabelKeys": "In", "mismatchLabelKeys": "NotIn"}


def merge(pod: Object) -> None:
    """Add what the keys mean to each selector; one that is missing matches nothing, and stays missing."""
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    for term in (*_terms(pod["spec"].get("affinity") or {}), *(pod["spec"].get("topologySpreadConstraints") or ())):
        if term.get("labelSelector") is None:
            continue
        meant = [
            {"key": key, "operator": operator, "values": [labels[key]]}
            for field, operator in _OPERATORS.items()
            for key in term.get(field) or ()
            if key in labels
        ]
        if meant:
            expressions = term["labelSelector"].get("matchExpressions") or []
            term["labelSelector"] = {**term["labelSelector"], "matchExpressions": [*expressions, *meant]}


def _terms(affinity: Object) -> Iterator[Object]:
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        yield from found.get(_REQUIRED) or ()
        yield from (each["podAffinityTerm"] for each in found.get(_PREFERRED) or ())
