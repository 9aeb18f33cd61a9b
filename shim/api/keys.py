"""Under which key is an object stored? The layout is upstream's: ``etcdctl get`` shows what is written elsewhere.

    /registry/pods/NAMESPACE/NAME                       most resources by their plural alone, whatever their group
    /registry/services/specs/NAMESPACE/NAME             some by a name they have had since before there were plurals
    /registry/apiregistration.k8s.io/apiservices/NAME   what upstream keeps by servers of their own: the group first
    /registry/example.com/widgets/NAMESPACE/NAME        custom resources: the group first
    /registry/masterleases/ADDRESS                      no resources: what API servers tell each other
    /registry/ranges/servicenodeports/PART

Two deviations: addresses of Services have no range, because each has an IPAddress, as upstream's have by now; and node
ports are kept in parts (:mod:`shim.server.node_ports`), where upstream has one bitmap.
"""

from __future__ import annotations

ROOT = "/registry/"
_OLDER_NAMES = {
    ("", "endpoints"): "services/endpoints",
    ("", "nodes"): "minions",
    ("", "replicationcontrollers"): "controllers",
    ("", "services"): "services/specs",
    ("networking.k8s.io", "ingresses"): "ingress",
}
_PLURALS = {older: resource for (_, resource), older in _OLDER_NAMES.items()}
_FOLDERS = frozenset(("services", "ranges"))  # below these are the resources
_GROUP_FIRST = ("apiregistration.k8s.io", "apiextensions.k8s.io")


def prefix_of(group: str, resource: str, *, custom: bool = False) -> str:
    """Where all objects of a resource are."""
    if custom or group in _GROUP_FIRST or not is_built_in(group):
        return f"{ROOT}{group}/{resource}/"
    return f"{ROOT}{_OLDER_NAMES.get((group, resource), resource)}/"


def bucket_of(key: str) -> str:
    """``/registry/pods/`` for every key and prefix of pods; prefixes shorter than that have the bucket ``""``.

    A name with a dot is a group's, which holds resources: ``/registry/example.com/widgets/``.
    """
    start = key.find("/", 1) + 1
    end = key.find("/", start)
    if end > 0 and ("." in key[start:end] or key[start:end] in _FOLDERS):
        end = key.find("/", end + 1)
    return key[: end + 1] if end > 0 else ""


def resource_of(key: str) -> str:
    """The plural of what is kept there: ``nodes`` for ``/registry/minions/n1``."""
    path = bucket_of(key).removeprefix(ROOT).rstrip("/")
    return _PLURALS.get(path) or path.rpartition("/")[2]


def is_built_in(group: str) -> bool:
    """Built-in groups have no dot or end in k8s.io; a custom resource may share a plural with them, never a group."""
    return "." not in group or group.endswith(".k8s.io")


ENDPOINTS = prefix_of("", "endpoints")
EVENTS = prefix_of("", "events")
NODES = prefix_of("", "nodes")
SERVICES = prefix_of("", "services")
SERVICE_ACCOUNTS = prefix_of("", "serviceaccounts")
MASTER_LEASES = f"{ROOT}masterleases/"
NODE_PORTS = f"{ROOT}ranges/servicenodeports/"
