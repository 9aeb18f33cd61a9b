"""How much work does one change make? What is proportional to the change, not to the cluster.

All controllers are told of a cluster of many namespaces, each with one of everything; then one thing changes, and it is
counted how many objects their handlers look at, and how many keys they queue.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shim.api.meta import GVR, Object, key_of
from shim.client import Client, Informer
from shim.client import resource as r
from shim.controllers.loop import Context, Controller
from shim.controllers.table import CONTROLLERS
from shim.controllers.tests import builders as b
from shim.settings import ControllerSettings

NAMESPACES = 25
LOOKED_AT = 12  # objects that all handlers of one change may look at together
QUEUED = 10  # keys they may queue together


def some(gvr: GVR, kind: str, namespace: str, name: str = "x", spec: Any = None, **more: Any) -> Object:
    """An object as a server would show it."""
    metadata: Object = {
        "name": name,
        "uid": f"{kind}-{namespace}-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": b.EARLIER,
        "labels": {"app": "a"},
    }
    if gvr.namespaced:
        metadata["namespace"] = namespace
    return {"apiVersion": gvr.api_version, "kind": kind, "metadata": metadata, "spec": spec or {}, "status": {}, **more}


def moved(obj: Object, namespace: str) -> Object:
    obj["metadata"] |= {"namespace": namespace, "uid": f"{obj['kind']}-{namespace}-{obj['metadata']['name']}"}
    for reference in obj["metadata"].get("ownerReferences") or ():
        reference["uid"] = f"{reference['kind']}-{namespace}-{reference['name']}"
    return obj


def everything_in(namespace: str) -> list[tuple[GVR, Object]]:
    """One namespace, one node and one volume, with one of every kind that somebody follows."""
    selector, template = {"matchLabels": {"app": "a"}}, b.template()
    job = {"selector": selector, "template": template, "completions": 1, "parallelism": 1, "backoffLimit": 6}
    labels = {
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    endpoint_slice = some(
        r.ENDPOINTSLICES, "EndpointSlice", namespace, "s-1", addressType="IPv4", endpoints=[], ports=[]
    )
    endpoint_slice["metadata"]["labels"] = labels
    volume_spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "slow"}
    claim_spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "s",
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    node = b.node(f"node-of-{namespace}") | {"status": {"conditions": []}}
    node["metadata"] |= {"uid": f"Node-{namespace}", "resourceVersion": "1"}
    lease = some(r.LEASES, "Lease", "kube-node-lease", f"node-of-{namespace}", {"renewTime": b.EARLIER})
    return [
        (r.NAMESPACES, some(r.NAMESPACES, "Namespace", "", namespace, status={"phase": "Active"})),
        (r.NODES, node),
        (r.LEASES, lease),
        (r.DEPLOYMENTS, moved(b.deployment(), namespace)),
        (r.REPLICASETS, moved(b.replica_set("rs", 1), namespace)),
        (r.REPLICATIONCONTROLLERS, some(r.REPLICATIONCONTROLLERS, "ReplicationController", namespace, "x", {
            "replicas": 1, "selector": {"app": "a"}, "template": template})),
        (r.STATEFULSETS, some(r.STATEFULSETS, "StatefulSet", namespace, "x", {
            "replicas": 1, "selector": selector, "template": template})),
        (r.DAEMONSETS, some(r.DAEMONSETS, "DaemonSet", namespace, "x", {"selector": selector, "template": template})),
        (r.JOBS, some(r.JOBS, "Job", namespace, "x", job)),
        (r.CRONJOBS, some(r.CRONJOBS, "CronJob", namespace, "x", {"schedule": "0 0 1 1 *", "suspend": True})),
        (r.SERVICES, moved(b.service(), namespace)),
        (r.ENDPOINTS, some(r.ENDPOINTS, "Endpoints", namespace, "s")),
        (r.ENDPOINTSLICES, endpoint_slice),
        (r.PERSISTENTVOLUMES, some(r.PERSISTENTVOLUMES, "PersistentVolume", "", f"v-{namespace}", volume_spec)),
        (r.PERSISTENTVOLUMECLAIMS, some(r.PERSISTENTVOLUMECLAIMS, "PersistentVolumeClaim", namespace, "x", claim_spec)),
        (r.RESOURCEQUOTAS, some(r.RESOURCEQUOTAS, "ResourceQuota", namespace, "x", {"hard": {"pods": "9"}})),
        (r.PODDISRUPTIONBUDGETS, some(r.PODDISRUPTIONBUDGETS, "PodDisruptionBudget", namespace, "x", {
            "minAvailable": 1, "selector": selector})),
        (r.HORIZONTALPODAUTOSCALERS, some(r.HORIZONTALPODAUTOSCALERS, "HorizontalPodAutoscaler", namespace, "x", {
            "maxReplicas": 2, "scaleTargetRef": target})),
        (r.SERVICEACCOUNTS, some(r.SERVICEACCOUNTS, "ServiceAccount", namespace, "default")),
        (r.CONFIGMAPS, some(r.CONFIGMAPS, "ConfigMap", namespace, "kube-root-ca.crt", data={})),
        (r.SECRETS, some(r.SECRETS, "Secret", namespace, "x", type="Opaque")),
        (r.PODS, moved(b.pod("p", b.replica_set("rs", 1), node=f"node-of-{namespace}", ip="10.0.0.1"), namespace)),
    ]  # fmt: skip


class Cluster:
    """Controllers that are only told, and never act."""

    def __init__(self, folder: Path, controllers: list[type[Controller]]) -> None:
        self.ctx = Context(Client("http://127.0.0.1:1"), ControllerSettings(kubeconfig=folder))
        self.controllers = [controller(self.ctx) for controller in controllers]
        self.looked_at: Counter[str] = Counter()
        for number in range(NAMESPACES):
            for gvr, obj in everything_in(f"ns-{number}"):
                self.show(gvr, None, obj)

    def show(self, gvr: GVR, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if (informer := self.ctx.shared(gvr)) is not None:
            informer._change(key_of(obj), new, last=old)

    def forget_work(self) -> None:
        for controller in self.controllers:
            while len(controller.queue):
                key = controller.queue._ready.popleft()
                controller.queue._dirty.discard(key)
            controller.queue.close()
        self.looked_at.clear()

    async def close(self) -> None:
        """End what recorders began: events that nobody takes."""
        for recorder in self.ctx._recorders.values():
            if recorder._teller is not None:
                recorder._teller.cancel()
                await asyncio.wait({recorder._teller})
        await self.ctx.client.close()

    def queued(self) -> dict[str, list[str]]:
        return {each.name: list(each.queue._ready) for each in self.controllers if len(each.queue)}


def changed(obj: Object, **parts: Any) -> Object:
    made = copy.deepcopy(obj)
    for part, value in parts.items():
        made[part] = {**made.get(part, {}), **value} if isinstance(value, dict) else value
    made["metadata"]["resourceVersion"] = "2"
    return made


OF = dict(everything_in("ns-7"))
POD = OF[r.PODS]
NOT_READY = {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": b.NOW}]}
DELETED = {"deletionTimestamp": b.NOW}
ORPHAN = changed(moved(b.pod("orphan"), "ns-7"), metadata={"ownerReferences": []})
CHANGES: dict[str, tuple[GVR, Object | None, Object | None]] = {
    "a pod appears": (r.PODS, None, moved(b.pod("q", b.replica_set("rs", 1), node=""), "ns-7")),
    "a pod is not ready any more": (r.PODS, POD, changed(POD, status=NOT_READY)),
    "a pod is about to end": (r.PODS, POD, changed(POD, metadata=DELETED)),
    "a pod is gone": (r.PODS, POD, None),
    "a pod that nobody owns appears": (r.PODS, None, ORPHAN),
    "a node says that it is there": (r.NODES, OF[r.NODES], changed(OF[r.NODES], status={"conditions": [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": b.NOW}]})),
    "a node renews its lease": (r.LEASES, OF[r.LEASES], changed(OF[r.LEASES], spec={"renewTime": b.NOW})),
    **{
        f"{obj['kind']} is told of": (gvr, obj, changed(obj, status={"observedGeneration": 7}))
        for gvr, obj in OF.items()
        if gvr not in (r.PODS, r.NODES, r.LEASES)
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize("name", CHANGES)
async def test_one_change_concerns_few(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(folder, CONTROLLERS)
    cluster.forget_work()
    count_looks(monkeypatch, cluster.looked_at)
    gvr, old, new = CHANGES[name]

    cluster.show(gvr, old, new)

    await cluster.close()
    assert "a handler failed" not in caplog.text
    assert cluster.looked_at.total() <= LOOKED_AT, cluster.looked_at
    queued = cluster.queued()
    assert sum(map(len, queued.values())) <= QUEUED, queued
    assert all("ns-7" in key or "/" not in key for keys in queued.values() for key in keys), queued


def count_looks(monkeypatch: pytest.MonkeyPatch, looked_at: Counter[str]) -> None:
    for method in ("list", "by", "keys"):
        original = getattr(Informer, method)

        def counting(self: Informer, *args: str, original: Any = original) -> list[Any]:
            found: list[Any] = original(self, *args)
            looked_at[self.gvr.resource] += len(found)
            return found

        monkeypatch.setattr(Informer, method, counting)


async def test_everything_that_controllers_follow_is_in_the_cluster(folder: Path) -> None:
    cluster = Cluster(folder, CONTROLLERS)
    await cluster.close()
    ctx = cluster.ctx
    followed = {informer.gvr for informer in ctx._informers.values()}
    apart = {
        r.CUSTOMRESOURCEDEFINITIONS, r.CERTIFICATESIGNINGREQUESTS, r.SERVICECIDRS, r.IPADDRESSES, r.APISERVICES,
        r.STORAGECLASSES, r.CONTROLLERREVISIONS, r.VOLUMEATTRIBUTESCLASSES, r.CLUSTERROLES,
        r.VALIDATINGADMISSIONPOLICIES,
    }  # fmt: skip
    assert followed - OF.keys() <= apart
