"""ReplicationControllers: what ReplicaSets were before selectors could say more than equality."""

from __future__ import annotations

from shim.api import selectors
from shim.api.meta import Object
from shim.api.selectors import Selector
from shim.client import resource as r
from shim.controllers.replicaset import ReplicaSetController


class ReplicationControllerController(ReplicaSetController):
    """The ReplicaSet controller on another kind, whose selector is a plain map."""

    name = "replicationcontroller"
    component = "replication-controller"
    resource = r.REPLICATIONCONTROLLERS
    kind = "ReplicationController"
    counts_terminating = False

    @staticmethod
    def selector(owner: Object) -> Selector:
        return selectors.from_map(owner["spec"].get("selector"))
