"""Storage that is in use stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shim.api.meta import Object
from shim.api.quota import attributes_classes
from shim.client import resource as r
from shim.controllers.storage_protection import StorageProtectionController, is_mounted
from shim.controllers.tests.live import world

CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data", "namespace": "default"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def pod(volume: Object, *, node: str = "n1", uid: str = "u", **metadata: Any) -> Object:
    metadata = {"name": "p", "namespace": "default", "uid": uid, **metadata}
    return {"metadata": metadata, "spec": {"nodeName": node, "volumes": [{"name": "v", **volume}]}}


NAMED = {"persistentVolumeClaim": {"claimName": "data"}}
OWN: Object = {"ephemeral": {"volumeClaimTemplate": {}}}
USERS = [
    (pod(NAMED), "data", True),
    (pod(NAMED, node=""), "data", False),
    (pod(NAMED, namespace="other"), "data", False),
    (pod(OWN), "p-v", True),
    (pod(OWN, uid="another"), "p-v", False),
    (pod(OWN, deletionTimestamp="t", deletionGracePeriodSeconds=0), "p-v", False),
]


@pytest.mark.parametrize(("user", "name", "used"), USERS)
def test_claims_are_used_by_pods_on_nodes(user: Object, name: str, used: bool) -> None:
    owners = [{"controller": True, "uid": "u", "kind": "Pod", "name": "p"}]
    claim = {"metadata": {"name": name, "namespace": "default", "ownerReferences": owners}}
    assert is_mounted(claim, [user]) is used


def test_a_claim_names_every_class_it_has_or_will_have() -> None:
    status = {"currentVolumeAttributesClassName": "b", "modifyVolumeStatus": {"targetVolumeAttributesClassName": "c"}}
    assert attributes_classes({"spec": {"volumeAttributesClassName": "a"}, "status": status}) == {"a", "b", "c"}
    assert attributes_classes({"spec": {}}) == set()


async def test_a_claim_goes_with_its_last_pod(tmp_path: Path) -> None:
    async with world(tmp_path, [StorageProtectionController]) as here:
        await here.client.create(r.PERSISTENTVOLUMECLAIMS, CLAIM)
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes, "terminationGracePeriodSeconds": 1}
        user = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "a"}}, "spec": spec}
        await here.client.create(r.PODS, user, "default")
        await here.until(r.PODS, "p", lambda pod: bool(pod["spec"].get("nodeName")))
        await here.client.delete(r.PERSISTENTVOLUMECLAIMS, "data", "default")
        kept = await here.client.get(r.PERSISTENTVOLUMECLAIMS, "data", "default")
        assert kept["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        await here.client.delete(r.PODS, "p", "default")
        await here.until_gone(r.PERSISTENTVOLUMECLAIMS)
