"""Which resources the core group and the workload groups have: one row each."""

from __future__ import annotations

from dataclasses import replace

from shim.api.meta import GVR
from shim.resources import autoscaler_versions, autoscaling, core, event_versions, storage
from shim.resources.columns import control, network
from shim.resources.columns import core as core_columns
from shim.resources.columns import pods as pod_columns
from shim.resources.columns import storage as storage_columns
from shim.resources.columns import workloads as work
from shim.resources.columns.common import NAME_AND_AGE
from shim.resources.pods.strategy import PodStrategy
from shim.resources.rows import ALL, CREATE_ONLY, NO_DELETECOLLECTION, cluster, served
from shim.resources.services import ServiceStrategy
from shim.resources.strategy import Resource
from shim.resources.workloads import batch
from shim.resources.workloads import strategy as workloads

CORE = served(
    "",
    "v1",
    Resource("bindings", "Binding", verbs=CREATE_ONLY),
    cluster(
        "componentstatuses",
        "ComponentStatus",
        columns=core_columns.COMPONENT_STATUSES,
        short=("cs",),
        verbs=("get", "list"),
        deprecated="v1 ComponentStatus is deprecated in v1.19+",
    ),
    Resource(
        "configmaps", "ConfigMap", columns=core_columns.CONFIG_MAPS, strategy=core.ConfigMapStrategy(), short=("cm",)
    ),
    Resource(
        "endpoints",
        "Endpoints",
        columns=network.ENDPOINTS,
        strategy=core.EndpointsStrategy(),
        short=("ep",),
        deprecated="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
    Resource("events", "Event", columns=core_columns.EVENTS, strategy=core.EventStrategy(), short=("ev",)),
    Resource("limitranges", "LimitRange", strategy=core.LimitRangeStrategy(), short=("limits",)),
    cluster(
        "namespaces",
        "Namespace",
        columns=core_columns.NAMESPACES,
        strategy=core.NamespaceStrategy(),
        short=("ns",),
        verbs=NO_DELETECOLLECTION,
        subresources=("finalize", "status"),
    ),
    cluster(
        "nodes",
        "Node",
        columns=core_columns.NODES,
        strategy=core.NodeStrategy(),
        short=("no",),
        subresources=("proxy", "status"),
    ),
    Resource(
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        columns=storage_columns.CLAIMS,
        strategy=storage.ClaimStrategy(),
        short=("pvc",),
        subresources=("status",),
    ),
    cluster(
        "persistentvolumes",
        "PersistentVolume",
        columns=storage_columns.VOLUMES,
        strategy=storage.VolumeStrategy(),
        short=("pv",),
        subresources=("status",),
    ),
    Resource(
        "pods",
        "Pod",
        columns=pod_columns.PODS,
        strategy=PodStrategy(),
        short=("po",),
        categories=ALL,
        subresources=(
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status",
        ),
    ),
    Resource(
        "podtemplates", "PodTemplate", columns=pod_columns.POD_TEMPLATES, strategy=workloads.PodTemplateStrategy()
    ),
    Resource(
        "replicationcontrollers",
        "ReplicationController",
        columns=work.REPLICATION_CONTROLLERS,
        strategy=workloads.ReplicationControllerStrategy(),
        short=("rc",),
        categories=ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "resourcequotas",
        "ResourceQuota",
        columns=core_columns.RESOURCE_QUOTAS,
        strategy=core.ResourceQuotaStrategy(),
        short=("quota",),
        subresources=("status",),
    ),
    Resource("secrets", "Secret", columns=core_columns.SECRETS, strategy=core.SecretStrategy()),
    Resource(
        "serviceaccounts",
        "ServiceAccount",
        columns=NAME_AND_AGE,
        strategy=core.ServiceAccountStrategy(),
        short=("sa",),
        subresources=("token",),
    ),
    Resource(
        "services",
        "Service",
        columns=network.SERVICES,
        strategy=ServiceStrategy(),
        short=("svc",),
        categories=ALL,
        subresources=("proxy", "status"),
    ),
)

APPS = served(
    "apps",
    "v1",
    Resource(
        "controllerrevisions",
        "ControllerRevision",
        columns=work.CONTROLLER_REVISIONS,
        strategy=workloads.ControllerRevisionStrategy(),
    ),
    Resource(
        "daemonsets",
        "DaemonSet",
        columns=work.DAEMON_SETS,
        strategy=workloads.DaemonSetStrategy(),
        short=("ds",),
        categories=ALL,
        subresources=("status",),
    ),
    Resource(
        "deployments",
        "Deployment",
        columns=work.DEPLOYMENTS,
        strategy=workloads.DeploymentStrategy(),
        short=("deploy",),
        categories=ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "replicasets",
        "ReplicaSet",
        columns=work.REPLICA_SETS,
        strategy=workloads.ReplicaSetStrategy(),
        short=("rs",),
        categories=ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "statefulsets",
        "StatefulSet",
        columns=work.STATEFUL_SETS,
        strategy=workloads.StatefulSetStrategy(),
        short=("sts",),
        categories=ALL,
        subresources=("scale", "status"),
    ),
)

BATCH = served(
    "batch",
    "v1",
    Resource(
        "cronjobs",
        "CronJob",
        columns=work.CRON_JOBS,
        strategy=batch.CronJobStrategy(),
        short=("cj",),
        categories=ALL,
        subresources=("status",),
    ),
    Resource("jobs", "Job", columns=work.JOBS, strategy=batch.JobStrategy(), categories=ALL, subresources=("status",)),
)

_HPA = Resource(
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    columns=control.AUTOSCALERS,
    strategy=autoscaling.AutoscalerStrategy(),
    short=("hpa",),
    categories=ALL,
    subresources=("status",),
)

AUTOSCALING = (
    *served("autoscaling", "v2", _HPA),
    *served(
        "autoscaling",
        "v1",
        replace(
            _HPA,
            storage=GVR("autoscaling", "v2", "horizontalpodautoscalers"),
            to_storage=autoscaler_versions.to_v2,
            from_storage=autoscaler_versions.from_v2,
        ),
    ),
)

EVENTS = served(
    "events.k8s.io",
    "v1",
    Resource(
        "events",
        "Event",
        columns=core_columns.EVENTS,
        strategy=core.NewEventStrategy(),
        short=("ev",),
        storage=GVR("", "v1", "events"),
        to_storage=event_versions.event_to_core,
        from_storage=event_versions.event_from_core,
    ),
)
