"""Which ReplicaSet is a Deployment's present revision, which are its past, and what is written on them?

The present one has the Deployment's own pod template; its revision is one more than any other's. A past revision that
becomes present again (a rollback) takes a new number and remembers its old ones. Pure.
"""

from __future__ import annotations

import copy
from typing import Any

from shim.api.meta import Object
from shim.controllers.template_hash import short_hash

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)
HISTORY_LENGTH = 2000  # characters of remembered revision numbers, as upstream


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def revision_of(obj: Object) -> int:
    """The revision number written on a ReplicaSet or Deployment; 0 if there is none to be read."""
    try:
        return int(annotations_of(obj).get(REVISION, "0"))
    except ValueError:
        return 0


def by_age(sets: list[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(sets, key=lambda each: (each["metadata"].get("creationTimestamp") or "", each["metadata"]["name"]))


def comparable(value: Any) -> Any:
    """The same template without what does not count: None, empty lists, the hash label."""
    if isinstance(value, dict):
        return {key: comparable(inner) for key, inner in value.items() if inner is not None and inner != []}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    return value


def same_template(one: Object, other: Object) -> bool:
    """Whether two pod templates mean the same pods, whatever their hash label."""
    return bool(_bare(one) == _bare(other))


def _bare(template: Object) -> Any:
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    rest = {key: value for key, value in metadata.items() if key not in ("labels", "annotations") and value}
    return rest, labels, metadata.get("annotations") or {}, comparable(template.get("spec") or {})


def find_new(deployment: Object, sets: list[Object]) -> Object | None:
    """The oldest ReplicaSet with the Deployment's template: one must be chosen, and always the same one."""
    for each in by_age(sets):
        if same_template(each["spec"]["template"], deployment["spec"]["template"]):
            return each
    return None


def find_old(new: Object | None, sets: list[Object]) -> list[Object]:
    """All the other ReplicaSets, oldest first."""
    uid = new["metadata"]["uid"] if new is not None else None
    return [each for each in by_age(sets) if each["metadata"]["uid"] != uid]


def next_revision(old: list[Object]) -> int:
    return max(map(revision_of, old), default=0) + 1


def new_annotations(deployment: Object, replica_set: Object, revision: int) -> dict[str, str]:
    """What is to be written on the present ReplicaSet: the Deployment's annotations, and its revision."""
    found = dict(annotations_of(replica_set))
    found.update({key: value for key, value in annotations_of(deployment).items() if key not in _NOT_COPIED})
    previous = found.get(REVISION)
    if previous is not None and not previous.lstrip("-").isdigit():
        return found  # somebody else's idea of a revision: leave it
    if int(previous or 0) < revision:
        found[REVISION] = str(revision)
        if previous is not None:
            found[REVISION_HISTORY] = remember_revision(found.get(REVISION_HISTORY, ""), previous)
    return found


def remember_revision(history: str, revision: str) -> str:
    """Add a past revision; the oldest are forgotten when the text grows too long."""
    revisions = [*history.split(","), revision] if history else [revision]
    while len(",".join(revisions)) > HISTORY_LENGTH and len(revisions) > 1:
        revisions.pop(0)
    return ",".join(revisions)


def replicas_annotations(replicas: int, max_replicas: int) -> dict[str, str]:
    """What the Deployment's size was when it last set this one's: proportional scaling starts from it."""
    return {DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(max_replicas)}


def build_replica_set(deployment: Object, reference: Object, revision: int, replicas: int, max_replicas: int) -> Object:
    """The ReplicaSet of the present template."""
    spec, metadata = deployment["spec"], deployment["metadata"]
    template = copy.deepcopy(spec["template"])
    name_hash = short_hash(template, (deployment.get("status") or {}).get("collisionCount"))
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: name_hash}
    template.setdefault("metadata", {})["labels"] = labels
    selector = copy.deepcopy(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: name_hash}
    made: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{name_hash}",
            "namespace": metadata["namespace"],
            "labels": dict(labels),
            "ownerReferences": [reference],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    made["metadata"]["annotations"] = {
        **new_annotations(deployment, made, revision),
        **replicas_annotations(spec["replicas"], max_replicas),
    }
    return made


def forgettable(deployment: Object, old: list[Object]) -> list[Object]:
    """The past revisions beyond ``revisionHistoryLimit`` that have no pods left, oldest first."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    if limit is None or limit == 2**31 - 1:
        return []
    kept = [each for each in old if not each["metadata"].get("deletionTimestamp")]
    surplus = sorted(by_age(kept), key=revision_of)[: max(len(kept) - limit, 0)]
    return [each for each in surplus if _empty(each)]


def _empty(each: Object) -> bool:
    status = each.get("status") or {}
    observed = status.get("observedGeneration", 0) >= each["metadata"].get("generation", 0)
    return not status.get("replicas") and not each["spec"].get("replicas") and observed
