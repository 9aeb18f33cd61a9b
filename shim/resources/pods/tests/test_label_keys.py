"""Selectors that take a value from the pod itself."""

from __future__ import annotations

from shim.api.meta import Object
from shim.resources.pods.label_keys import merge

WEB: Object = {"matchLabels": {"app": "web"}}


def test_keys_become_requirements_of_the_pods_own_values() -> None:
    term = {"labelSelector": WEB, "matchLabelKeys": ["hash", "absent"], "mismatchLabelKeys": ["tenant"]}
    spread = {"labelSelector": WEB, "matchLabelKeys": ["hash"]}
    wish = {"weight": 1, "podAffinityTerm": dict(term)}
    affinity = {
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]},
    }
    labels = {"app": "web", "hash": "h1", "tenant": "t1"}
    pod = {"metadata": {"labels": labels}, "spec": {"affinity": affinity, "topologySpreadConstraints": [spread]}}

    merge(pod)

    same = {"key": "hash", "operator": "In", "values": ["h1"]}
    other = {"key": "tenant", "operator": "NotIn", "values": ["t1"]}
    assert (
        term["labelSelector"] == wish["podAffinityTerm"]["labelSelector"] == {**WEB, "matchExpressions": [same, other]}
    )
    assert spread["labelSelector"] == {**WEB, "matchExpressions": [same]}
    assert "matchExpressions" not in WEB


def test_no_selector_means_no_pod_whatever_the_keys() -> None:
    spread = {"matchLabelKeys": ["hash"]}
    merge({"metadata": {"labels": {"hash": "h1"}}, "spec": {"topologySpreadConstraints": [spread]}})
    assert spread == {"matchLabelKeys": ["hash"]}
