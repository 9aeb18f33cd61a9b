"""The controllers that make pods and endpoints out of what users ask for, in the order they are started."""

from __future__ import annotations

from shim.controllers.autoscaler import HorizontalPodAutoscaler
from shim.controllers.cronjob import CronJobController
from shim.controllers.daemonset import DaemonSetController
from shim.controllers.deployment import DeploymentController
from shim.controllers.endpoints import EndpointsController
from shim.controllers.endpointslice import EndpointSliceController
from shim.controllers.endpointslice_mirroring import EndpointSliceMirroring
from shim.controllers.job import JobController
from shim.controllers.job_ttl import JobTtlController
from shim.controllers.loop import Controller
from shim.controllers.replicaset import ReplicaSetController
from shim.controllers.replication_controller import ReplicationControllerController
from shim.controllers.statefulset import StatefulSetController

WORKLOADS: list[type[Controller]] = [
    DeploymentController,
    ReplicaSetController,
    ReplicationControllerController,
    EndpointSliceController,
    EndpointsController,
    EndpointSliceMirroring,
    DaemonSetController,
    StatefulSetController,
    JobController,
    JobTtlController,
    CronJobController,
    HorizontalPodAutoscaler,
]
