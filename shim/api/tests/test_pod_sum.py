"""A pod needs what runs at once."""

from __future__ import annotations

from shim.api import pod_sum


def needs(container):
    return dict(container["needs"])


def test_containers_add_up_and_an_init_container_counts_only_if_it_needs_more():
    spec = {
        "containers": [{"needs": {"cpu": 1, "memory": 10}}, {"needs": {"cpu": 2}}],
        "initContainers": [{"needs": {"cpu": 2, "memory": 50}}],
    }
    assert pod_sum.at_once(spec, needs) == {"cpu": 3, "memory": 50}


def test_a_sidecar_counts_for_what_starts_after_it():
    sidecar = {"restartPolicy": "Always", "needs": {"cpu": 1}}
    first, last = {"needs": {"cpu": 5}}, {"needs": {"cpu": 5}}
    spec = {"containers": [{"needs": {"cpu": 1}}], "initContainers": [first, sidecar, last]}
    assert pod_sum.at_once(spec, needs) == {"cpu": 6}
    spec["initContainers"] = [first, sidecar]
    assert pod_sum.at_once(spec, needs) == {"cpu": 5}
