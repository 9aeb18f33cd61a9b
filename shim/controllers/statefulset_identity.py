"""Who is the n-th pod of a StatefulSet: its name, labels, host name and storage? Pure.

A pod keeps its ordinal, its name and its claims through every replacement: that is what a StatefulSet is for.
"""

from __future__ import annotations

import copy
import re

from shim.api.meta import Object
from shim.controllers.adoption import owner_reference
from shim.controllers.history import template_of
from shim.controllers.pod_control import pod_from_template

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
REVISION_LABEL = "controller-revision-hash"
_NAME = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(pod: Object, set_name: str) -> int | None:
    """The pod's ordinal, if its name is one of this set's."""
    found = _NAME.fullmatch(pod["metadata"]["name"])
    return int(found[2]) if found is not None and found[1] == set_name else None


def first_ordinal(stateful_set: Object) -> int:
    return int((stateful_set["spec"].get("ordinals") or {}).get("start", 0))


def ordinals(stateful_set: Object) -> range:
    """The ordinals that should exist."""
    start = first_ordinal(stateful_set)
    return range(start, start + int(stateful_set["spec"]["replicas"]))


def revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def claim_name(template: Object, set_name: str, ordinal: int) -> str:
    return f"{template['metadata']['name']}-{set_name}-{ordinal}"


def claims(stateful_set: Object, ordinal: int) -> list[Object]:
    """The claims of the pod with this ordinal, as they are created."""
    selector = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
    found = []
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        made = copy.deepcopy(template)
        made.pop("status", None)
        made |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        metadata = made["metadata"]
        metadata["name"] = claim_name(template, stateful_set["metadata"]["name"], ordinal)
        metadata["namespace"] = stateful_set["metadata"]["namespace"]
        metadata["labels"] = {**(metadata.get("labels") or {}), **selector}
        found.append(made)
    return found


def with_identity(pod: Object, stateful_set: Object, ordinal: int) -> Object:
    """The pod with the name and the labels of its ordinal."""
    name = f"{stateful_set['metadata']['name']}-{ordinal}"
    labels = {**(pod["metadata"].get("labels") or {}), POD_NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
    metadata = {**pod["metadata"], "name": name, "namespace": stateful_set["metadata"]["namespace"], "labels": labels}
    return {**pod, "metadata": metadata}


def with_storage(pod: Object, stateful_set: Object, ordinal: int) -> Object:
    """The pod with its claims as volumes; a volume of the template with a claim's name is overridden."""
    name = stateful_set["metadata"]["name"]
    volumes = [
        {
            "name": template["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": claim_name(template, name, ordinal)},
        }
        for template in stateful_set["spec"].get("volumeClaimTemplates") or ()
    ]
    claimed = {volume["name"] for volume in volumes}
    volumes += [volume for volume in pod["spec"].get("volumes") or () if volume["name"] not in claimed]
    return {**pod, "spec": {**pod["spec"], "volumes": volumes}} if volumes else pod


def identity_matches(pod: Object, stateful_set: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(labels.get(POD_NAME_LABEL) == pod["metadata"]["name"])


def storage_matches(pod: Object, stateful_set: Object, ordinal: int) -> bool:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    name = stateful_set["metadata"]["name"]
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        volume = volumes.get(template["metadata"]["name"]) or {}
        found = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if found != claim_name(template, name, ordinal):
            return False
    return True


def new_pod(stateful_set: Object, current: Object, update: Object, ordinal: int) -> Object:
    """The pod to create for an ordinal: of the old revision below the partition, else of the new one."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    revision = update
    if strategy.get("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.get("rollingUpdate")
        if rolling is None:
            kept = int((stateful_set.get("status") or {}).get("currentReplicas", 0))
        else:
            kept = int(rolling.get("partition") or 0)
        if ordinal < first_ordinal(stateful_set) + kept:
            revision = current
    reference = owner_reference(stateful_set, "apps/v1", "StatefulSet")
    pod = pod_from_template(template_of(revision), stateful_set["metadata"]["name"], reference)
    pod = with_storage(with_identity(pod, stateful_set, ordinal), stateful_set, ordinal)
    pod["metadata"]["labels"][REVISION_LABEL] = revision["metadata"]["name"]
    pod["spec"]["hostname"] = pod["metadata"]["name"]
    if stateful_set["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = stateful_set["spec"]["serviceName"]
    return pod


def claim_owners(claim: Object, stateful_set: Object, pod: Object, in_range: bool) -> list[Object]:
    """Who must own a claim for the retention policy to work: the collector deletes it with its owner."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    ours = (stateful_set["metadata"]["uid"], pod["metadata"].get("uid"))
    owners = [each for each in claim["metadata"].get("ownerReferences") or () if each["uid"] not in ours]
    if any(each.get("controller") for each in owners):
        return owners  # somebody else manages this claim: the policy is ignored
    if policy.get("whenScaled") == "Delete" and not in_range:
        return [*owners, owner_reference(pod, "v1", "Pod")]
    if policy.get("whenDeleted") == "Delete":
        return [*owners, owner_reference(stateful_set, "apps/v1", "StatefulSet")]
    return owners
