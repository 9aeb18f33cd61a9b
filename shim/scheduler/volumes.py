"""Are a pod's volumes within reach of a node, or can they be had there? Pure; ``volume_binding`` acts on the answer.

A claim is bound already, or somebody else binds it at once (then the pod waits), or it waits for this decision: then
a free volume within the node's reach is reserved for it, or the node is named and a provisioner makes one there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shim.api import claims as c
from shim.api.meta import Object, controller_of, key_of
from shim.scheduler.snapshot import Pod, Snapshot

OUT_OF_REACH = "node(s) didn't match PersistentVolume's node affinity"
NOTHING_TO_BIND = "node(s) didn't find available persistent volumes to bind"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
WRONG_ZONE = "node(s) had no available volume zone"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"

_ZONES = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)


class NotYet(Exception):
    """The pod's claims let it run nowhere; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What must be written so that the pod's volumes are there: volumes to reserve, claims to make volumes for."""

    reserved: Sequence[tuple[Object, Object]] = ()  # volume, claim
    provisioned: Sequence[Object] = ()

    def __bool__(self) -> bool:
        return bool(self.reserved or self.provisioned)


@dataclass(slots=True)
class PodVolumes:
    """A pod's claims, sorted by what is to be done about them, read once for all nodes."""

    snapshot: Snapshot
    volumes: list[Object] = field(default_factory=list)  # behind bound claims
    lost: bool = False  # a bound claim's volume is not there
    waiting: list[Object] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)  # keys of claims for one pod only

    @classmethod
    def of(cls, pod: Pod, snapshot: Snapshot) -> PodVolumes:
        """Raises NotYet."""
        found = cls(snapshot)
        unbound = False
        for claim in _claims(pod, snapshot):
            if "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ()):
                found.alone.append(key_of(claim))
            if c.is_bound(claim):
                volume = snapshot.volumes.get(claim["spec"]["volumeName"])
                found.lost = found.lost or volume is None
                found.volumes += [volume] if volume else []
            elif c.waits_for_consumer(claim, snapshot.storage_classes) and not claim["spec"].get("volumeName"):
                found.waiting.append(claim)
            else:
                unbound = True
        if unbound:
            raise NotYet(UNBOUND)
        return found

    def in_use(self, pod: Pod) -> bool:
        """Whether another pod has a claim that only one may have."""
        return any(self.snapshot.users(key) - {pod.uid} for key in self.alone)

    def refuse(self, node: Object) -> tuple[str, ...]:
        """Every reason against the node."""
        reasons = []
        if not all(c.reachable(volume, node) for volume in self.volumes):
            reasons.append(OUT_OF_REACH)
        if self.waiting and self.choose(node) is None:
            reasons.append(NOTHING_TO_BIND)
        if self.lost:
            reasons.append(NO_VOLUME)
        return tuple(reasons)

    def wrong_zone(self, node: Object) -> bool:
        """Whether a bound volume says by its labels that it is elsewhere."""
        labels = node["metadata"].get("labels") or {}
        if not any(zone in labels for zone in _ZONES):
            return False  # a node that says nothing is everywhere
        said = (item for volume in self.volumes for item in (volume["metadata"].get("labels") or {}).items())
        return any(name in _ZONES and labels.get(name) not in places.split("__") for name, places in said)

    def choose(self, node: Object) -> Choice | None:
        """How the claims that wait would get their volumes on the node; None if they cannot. Small claims first."""
        taken = {name for name, uid in self.snapshot.reserved.items()}
        reserved: list[tuple[Object, Object]] = []
        provisioned: list[Object] = []
        for claim in sorted(self.waiting, key=c.asked_size):
            selected = self.snapshot.selected.get(key_of(claim)) or c.annotations_of(claim).get(c.SELECTED_NODE)
            if selected is not None and selected != node["metadata"]["name"]:
                return None
            volume = None
            if selected is None:
                volume = c.best_volume(claim, self.snapshot.volumes.values(), node=node, taken=taken)
            if volume is not None:
                taken.add(volume["metadata"]["name"])
                reserved.append((volume, claim))
            elif self._is_made(claim, node):
                provisioned.append(claim)
            else:
                return None
        return Choice(reserved, provisioned)

    def _is_made(self, claim: Object, node: Object) -> bool:
        """Whether its class has somebody who makes volumes for this node."""
        storage_class = self.snapshot.storage_classes.get(c.class_of(claim)) or {}
        provisioner = storage_class.get("provisioner") or c.NO_PROVISIONER
        return provisioner != c.NO_PROVISIONER and _allows(storage_class.get("allowedTopologies") or (), node)


def _claims(pod: Pod, snapshot: Snapshot) -> Iterable[Object]:
    """Raises NotYet."""
    for name, own in c.claims_of(pod.obj):
        claim = snapshot.claims.get(f"{pod.namespace}/{name}")
        if claim is None and own:
            raise NotYet(f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"')
        if claim is None:
            raise NotYet(f'persistentvolumeclaim "{name}" not found')
        if (claim.get("status") or {}).get("phase") == "Lost":
            volume = claim["spec"].get("volumeName") or ""
            raise NotYet(f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"')
        if claim["metadata"].get("deletionTimestamp"):
            raise NotYet(f'persistentvolumeclaim "{name}" is being deleted')
        if own and (controller_of(claim) or {}).get("uid") != pod.uid:
            raise NotYet(f"PVC {key_of(claim)} was not created for pod {pod.key} (pod is not owner)")
        yield claim


def _allows(topologies: Sequence[Object], node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    return not topologies or any(
        all(labels.get(each["key"]) in each["values"] for each in term.get("matchLabelExpressions") or ())
        for term in topologies
    )
