"""Labels of nodes that have newer names: whoever still selects by the old ones is warned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shim.api import names
from shim.api.meta import Object

DEPRECATED = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def label_warnings(at: str, labels: Iterable[str]) -> list[str]:
    """A plain map of labels, each warning naming the map."""
    return [f"{at}: {DEPRECATED[label]}" for label in labels if label in DEPRECATED]


def term_warnings(at: str, term: Object, check_values: bool = False) -> list[str]:
    """One term of a node affinity, or a LabelSelector's expressions."""
    found: list[str] = []
    for index, each in enumerate(term.get("matchExpressions") or ()):
        here, key = f"{at}.matchExpressions[{index}]", each.get("key") or ""
        if key in DEPRECATED:
            found.append(f"{here}.key: {key} is {DEPRECATED[key]}")
        if check_values:
            for value_index, value in enumerate(each.get("values") or ()):
                for text in names.label_value(value):
                    found.append(f"{here}.values[{value_index}]: {value} is invalid, {text}")
    return found


def selector_warnings(at: str, selector: Mapping[str, object] | None) -> list[str]:
    """A ``metav1.LabelSelector`` over nodes."""
    if not selector:
        return []
    plain = selector.get("matchLabels") or {}
    assert isinstance(plain, Mapping)
    found = term_warnings(at, dict(selector))
    return found + [f"{at}.matchLabels.{label}: {DEPRECATED[label]}" for label in plain if label in DEPRECATED]
