"""Who has to go, and what is told of it? Pure: pods and what they use in, an order and messages out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nodeagent.kubelet import resources
from nodeagent.kubelet.eviction.thresholds import Observation, Threshold
from shim.api import quantity
from shim.api.meta import Object


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """Bytes (and processes) of one container."""

    memory: int = 0
    pids: int = 0
    root: int = 0  # what it changed in its root file system
    logs: int = 0
    inodes: int = 0

    @property
    def disk(self) -> int:
        return self.root + self.logs


@dataclass(frozen=True, slots=True)
class PodUse:
    """What a pod uses of its node."""

    containers: Mapping[str, ContainerUse] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)  # bytes of emptyDirs on disk, by name
    inodes: int = 0  # of those

    def of(self, resource: str) -> int:
        each = self.containers.values()
        match resource:
            case "memory":
                return sum(one.memory for one in each)
            case "pids":
                return sum(one.pids for one in each)
            case "inodes":
                return self.inodes + sum(one.inodes for one in each)
            case _:
                return sum(self.volumes.values()) + sum(one.disk for one in each)


def ranked(pods: Sequence[Object], uses: Mapping[str, PodUse], resource: str) -> list[Object]:
    """The first goes first: who uses more than it asked for, then who matters least, then who uses most beyond."""

    def rank(pod: Object) -> tuple[bool, int, int]:
        use = uses.get(pod["metadata"]["uid"], PodUse()).of(resource)
        asked = resources.pod_totals(pod, "requests").get(resource) if resource in _REQUESTED else None
        beyond = use - (asked.value if asked else 0)
        modest = resource in _REQUESTED and beyond <= 0
        return modest, int(pod["spec"].get("priority") or 0), -beyond

    return sorted(pods, key=rank)


_REQUESTED = ("memory", "ephemeral-storage")


def pressure_message(
    pod: Object, use: PodUse, resource: str, crossed: Sequence[Threshold], seen: Mapping[str, Observation]
) -> tuple[str, dict[str, str]]:
    """What the status of a pod says that went because its node ran short, and the annotations of the event."""
    text = f"The node was low on resource: {resource}. "
    if crossed:
        observation = seen[crossed[0].signal]
        wanted = crossed[0].amount.of(observation.capacity)
        text += f"Threshold quantity: {_binary(wanted)}, available: {_binary(observation.available)}. "
    notes: dict[str, str] = {}
    asked_together = ((pod["spec"].get("resources") or {}).get("requests") or {}).get(resource)
    if resource == "memory" and asked_together is not None:
        name, amount = pod["metadata"]["name"], _binary(use.of(resource))
        text += f"Pod {name} was using {amount}, request is {asked_together}, has larger consumption of {resource}. "
        notes |= {"offending_pod": name, "offending_pod_usage": amount}
    blamed = []
    for container in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())):
        known = use.containers.get(container["name"])
        if known is None or resource not in _REQUESTED:
            continue
        used = known.memory if resource == "memory" else known.disk
        asked = str(((container.get("resources") or {}).get("requests") or {}).get(resource, "0"))
        if used > quantity.parse(asked).value:
            blamed.append((container["name"], _binary(used)))
            text += (
                f"Container {container['name']} was using {_binary(used)}, request is {asked},"
                f" has larger consumption of {resource}. "
            )
    notes["offending_containers"] = ",".join(name for name, _ in blamed)
    notes["offending_containers_usage"] = ",".join(amount for _, amount in blamed)
    return text, {**notes, "starved_resource": resource}


def over_local_limit(pod: Object, use: PodUse) -> tuple[str, str]:
    """What the status of a pod says that used more disk than it may, and what it is counted as; "" if it does not."""
    for volume in pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit and 0 < quantity.parse(str(limit)).value < use.volumes.get(volume["name"], 0):
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". ', "emptydirfs.limit"
    whole = resources.pod_totals(pod, "limits").get("ephemeral-storage")
    if whole and use.of("ephemeral-storage") > whole.value:
        said = f"Pod ephemeral local storage usage exceeds the total limit of containers {whole}. "
        return said, "ephemeralpodfs.limit"
    for container in pod["spec"]["containers"]:
        limit = ((container.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        known = use.containers.get(container["name"])
        if limit and known and 0 < quantity.parse(str(limit)).value < known.disk:
            said = f'Container {container["name"]} exceeded its local ephemeral storage limit "{limit}". '
            return said, "ephemeralcontainerfs.limit"
    return "", ""


def limits_disk(pod: Object) -> bool:
    """Whether it is worth looking how much disk the pod uses."""
    if any((volume.get("emptyDir") or {}).get("sizeLimit") for volume in pod["spec"].get("volumes") or ()):
        return True
    return "ephemeral-storage" in resources.pod_totals(pod, "limits")


def refusal(pod: Object, conditions: frozenset[str]) -> str:
    """Why a node that is short does not take a new pod; "" if it does."""
    if not conditions or resources.is_critical(pod):
        return ""
    if conditions == {"MemoryPressure"}:
        keys = ("node.kubernetes.io/memory-pressure", None)
        tolerations = pod["spec"].get("tolerations") or ()
        tolerated = any(e.get("key") in keys and e.get("effect") in (None, "NoSchedule") for e in tolerations)
        if tolerated or resources.qos_class(pod) != "BestEffort":
            return ""
    return f"The node had condition: [{' '.join(sorted(conditions))}]. "


def _binary(amount: int) -> str:
    """In the largest binary unit that leaves a whole number."""
    for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if amount and amount % (1 << power) == 0:
            return f"{amount >> power}{unit}"
    return str(amount)
