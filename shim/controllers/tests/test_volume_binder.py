"""Claims and volumes on a real API server, with binder, provisioner and scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import shim.scheduler
from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.ephemeral_volume import EphemeralVolumeController
from shim.controllers.local_path import NotProvisioned, refuse
from shim.controllers.storage_protection import StorageProtectionController
from shim.controllers.tests.cluster import Cluster, cluster
from shim.controllers.volume_binder import VolumeBinder
from shim.settings import SchedulerSettings

CONTROLLERS = (VolumeBinder, EphemeralVolumeController, StorageProtectionController)


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as made:
        await made.control(*CONTROLLERS)
        await made.start(lambda ready: shim.scheduler.run(SchedulerSettings(kubeconfig=made.kubeconfig), ready))
        yield made


def volume(name: str = "v", size: str = "1Gi", **spec: Any) -> Object:
    made = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/x"}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": made}


def claim(name: str = "data", storage_class: str = "", size: str = "1Gi", **spec: Any) -> Object:
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    made = {**asked, "storageClassName": storage_class, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": made}


def storage_class(name: str, provisioner: str, mode: str = "WaitForFirstConsumer") -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": mode,
    }


def phase(wanted: str) -> Any:
    return lambda obj: obj is not None and (obj.get("status") or {}).get("phase") == wanted


def using(*names: str) -> dict[str, Any]:
    return {"volumes": [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]}


async def test_a_claim_and_the_smallest_fitting_volume_find_each_other(c: Cluster) -> None:
    for made in (volume("large", "9Gi"), volume("fitting", "2Gi"), volume("small", "1Mi")):
        await c.client.create(r.PERSISTENTVOLUMES, made)
        await c.until(r.PERSISTENTVOLUMES, made["metadata"]["name"], phase("Available"))

    await c.client.create(r.PERSISTENTVOLUMECLAIMS, claim(), "default")

    bound = await c.until(r.PERSISTENTVOLUMECLAIMS, "data", phase("Bound"))
    assert bound is not None
    assert bound["spec"]["volumeName"] == "fitting"
    assert bound["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    assert (bound["status"]["capacity"], bound["status"]["accessModes"]) == ({"storage": "2Gi"}, ["ReadWriteOnce"])
    held = await c.until(r.PERSISTENTVOLUMES, "fitting", phase("Bound"))
    assert held is not None
    assert held["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]


async def test_a_volume_that_comes_late_is_bound_and_kept_when_its_claim_goes(c: Cluster) -> None:
    await c.client.create(r.PERSISTENTVOLUMECLAIMS, claim(), "default")
    await c.client.create(r.PERSISTENTVOLUMES, volume())
    await c.until(r.PERSISTENTVOLUMECLAIMS, "data", phase("Bound"))

    await c.client.delete(r.PERSISTENTVOLUMECLAIMS, "data", "default")

    await c.until(r.PERSISTENTVOLUMES, "v", phase("Released"))
    await c.client.create(r.PERSISTENTVOLUMECLAIMS, claim("other"), "default")  # it still holds the data of another
    await c.client.patch(r.PERSISTENTVOLUMES, "v", {"spec": {"claimRef": None}})
    await c.until(r.PERSISTENTVOLUMECLAIMS, "other", phase("Bound"))


async def test_a_claim_that_loses_its_volume_says_so(c: Cluster) -> None:
    await c.client.create(r.PERSISTENTVOLUMES, volume())
    await c.client.create(r.PERSISTENTVOLUMECLAIMS, claim(), "default")
    await c.until(r.PERSISTENTVOLUMECLAIMS, "data", phase("Bound"))

    await c.client.delete(r.PERSISTENTVOLUMES, "v")  # protected until its finalizer is taken by force
    await c.client.patch(r.PERSISTENTVOLUMES, "v", {"metadata": {"finalizers": None}})

    await c.until(r.PERSISTENTVOLUMECLAIMS, "data", phase("Lost"))


async def test_a_volume_nobody_can_delete_fails(c: Cluster) -> None:
    await c.client.create(r.PERSISTENTVOLUMES, volume(persistentVolumeReclaimPolicy="Delete"))
    await c.client.create(r.PERSISTENTVOLUMECLAIMS, claim(), "default")
    await c.until(r.PERSISTENTVOLUMECLAIMS, "data", phase("Bound"))
    await c.client.delete(r.PERSISTENTVOLUMECLAIMS, "data", "default")
    failed = await c.until(r.PERSISTENTVOLUMES, "v", phase("Failed"))
    assert failed is not None
    assert "no deletable volume plugin matched" in failed["status"]["message"]


async def test_a_waiting_claim_is_bound_where_its_first_pod_goes(c: Cluster) -> None:
    for name in ("n1", "n2"):
        await c.add_node(name)
    await c.client.create(r.STORAGECLASSES, storage_class("late", "kubernetes.io/no-provisioner"))
    near = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}
    local = volume(storageClassName="late", nodeAffinity={"required": {"nodeSelectorTerms": [near]}})
    await c.client.create(r.PERSISTENTVOLUMES, local)
    await c.client.create(r.PERSISTENTVOLUMECLAIMS, claim(storage_class="late"), "default")
    await c.until(r.PERSISTENTVOLUMES, "v", phase("Available"))

    await c.add_pod("user", **using("data"))

    pod = await c.until(r.PODS, "user", lambda pod: pod is not None and pod["spec"].get("nodeName"))
    assert pod is not None
    assert pod["spec"]["nodeName"] == "n2"
    await c.until(r.PERSISTENTVOLUMECLAIMS, "data", phase("Bound"))


async def test_a_provisioner_is_asked_once_a_pod_has_chosen_and_the_pod_waits_for_it(c: Cluster) -> None:
    await c.add_node("n1")
    await c.client.create(r.STORAGECLASSES, storage_class("late", "example.com/p"))
    own = {"volumeClaimTemplate": {"spec": claim(storage_class="late")["spec"]}}
    await c.add_pod("user", volumes=[{"name": "scratch", "ephemeral": own}])

    asked = await c.until(
        r.PERSISTENTVOLUMECLAIMS,
        "user-scratch",
        lambda obj: obj and "volume.kubernetes.io/storage-provisioner" in (obj["metadata"].get("annotations") or {}),
    )
    assert asked is not None
    assert asked["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "n1"
    assert asked["metadata"]["ownerReferences"][0]["name"] == "user"
    reference = {"namespace": "default", "name": "user-scratch", "uid": asked["metadata"]["uid"]}
    await c.client.create(r.PERSISTENTVOLUMES, volume(storageClassName="late", claimRef=reference))
    await c.until(r.PODS, "user", lambda pod: pod and pod["spec"].get("nodeName"))


def test_what_a_folder_cannot_be_is_refused() -> None:
    selector = {"matchLabels": {"a": "b"}}
    for spec in ({"accessModes": ["ReadWriteMany"]}, {"volumeMode": "Block"}, {"selector": selector}):
        with pytest.raises(NotProvisioned):
            refuse(claim(**spec))
    refuse(claim())


async def test_a_recycled_volume_is_emptied_by_a_pod_and_available_again(c: Cluster) -> None:
    await c.client.create(r.PERSISTENTVOLUMES, volume(persistentVolumeReclaimPolicy="Recycle"))
    fixed = volume("fixed", local={"path": "/x"}, **RECYCLED)
    del fixed["spec"]["hostPath"]
    await c.client.create(r.PERSISTENTVOLUMES, fixed)
    for name, wanted in (("data", "v"), ("other", "fixed")):
        await c.client.create(r.PERSISTENTVOLUMECLAIMS, claim(name, volumeName=wanted), "default")
        await c.until(r.PERSISTENTVOLUMECLAIMS, name, phase("Bound"))
        await c.client.delete(r.PERSISTENTVOLUMECLAIMS, name, "default")
    failed = await c.until(r.PERSISTENTVOLUMES, "fixed", phase("Failed"))
    assert failed is not None
    assert failed["status"]["message"] == "No recycler plugin found for the volume!"
    pod = await c.until(r.PODS, "recycler-for-v", lambda found: found is not None)
    assert pod is not None
    assert pod["spec"]["volumes"][0]["hostPath"]["path"] == "/tmp/x"
    ended = {"status": {"phase": "Succeeded"}}
    await c.client.patch(r.PODS, "recycler-for-v", ended, "default", subresource="status")
    free = await c.until(r.PERSISTENTVOLUMES, "v", phase("Available"))
    assert free is not None
    assert "uid" not in (free["spec"].get("claimRef") or {})


RECYCLED = {
    "persistentVolumeReclaimPolicy": "Recycle",
    "nodeAffinity": {
        "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}
    },
}
