"""Who empties a volume whose claim is gone, so that another claim may have it? A pod that mounts it and removes all.

Only folders can be recycled (``hostPath``, ``nfs``). The policy is old: provisioners make new volumes instead.
"""

from __future__ import annotations

from shim.api import claims as c
from shim.api.meta import Object

NAMESPACE = "default"  # where the pods run, as upstream's
PREFIX = "recycler-for-"
IMAGE = "localhost/host"  # the node's own programs: nothing is to be pulled
EMPTY = 'find /scrub -mindepth 1 -delete && [ -z "$(ls -A /scrub)" ]'
LEAST_TIME = {"hostPath": 60, "nfs": 300}  # seconds, by the kinds of volumes that can be recycled
TIME_PER_GIB = 30


def name_of(volume: Object) -> str:
    """The pod's name: there is one at a time, whoever makes it."""
    return f"{PREFIX}{volume['metadata']['name']}"


def volume_of(pod: Object) -> str | None:
    """The name of the volume that a pod empties."""
    metadata = pod["metadata"]
    ours = metadata["namespace"] == NAMESPACE and metadata["name"].startswith(PREFIX)
    return metadata["name"].removeprefix(PREFIX) if ours else None


def recycler(volume: Object) -> Object | None:
    """The pod that empties the volume; None where nobody can."""
    spec = volume["spec"]
    kind = next((each for each in LEAST_TIME if each in spec), None)
    if kind is None:
        return None
    time = max(LEAST_TIME[kind], TIME_PER_GIB * (c.size_of(volume) // 1024**3))
    wanted: Object = {
        "activeDeadlineSeconds": time,
        "restartPolicy": "Never",
        "volumes": [{"name": "vol", kind: spec[kind]}],
        "containers": [
            {
                "name": "pv-recycler",
                "image": IMAGE,
                "command": ["/bin/sh", "-c", EMPTY],
                "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
            }
        ],
    }
    if required := (spec.get("nodeAffinity") or {}).get("required"):  # the folder is there, not anywhere
        wanted["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name_of(volume)}, "spec": wanted}
