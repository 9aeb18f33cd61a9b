"""Which resources are served: one row each, in the order discovery lists groups and resources.

To add a kind, add a row; what makes it special (defaults, validation, printed columns) is named in the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from shim.api.meta import GVR, Object
from shim.resources import conversions, core, extensions, networking, rbac, scheduling, storage
from shim.resources.columns import control, network
from shim.resources.columns import core as core_columns
from shim.resources.columns import pods as pod_columns
from shim.resources.columns import storage as storage_columns
from shim.resources.columns import workloads as work
from shim.resources.columns.common import DEFAULT, NAME_AND_AGE, Cell
from shim.resources.pods.strategy import PodStrategy
from shim.resources.services import ServiceStrategy
from shim.resources.strategy import ALL_VERBS, Column, Resource, Uncounted, UncountedWithStatus, WithStatus
from shim.resources.workloads import batch
from shim.resources.workloads import strategy as workloads

Convert = Callable[[Object], Object]

CREATE_ONLY = ("create",)  # reviews and bindings are questions and orders: nothing is kept under these names
_NO_DELETECOLLECTION = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
_ALL = ("all",)
_EXTENSIONS = ("api-extensions",)


def _served(group: str, version: str, *rows: Resource) -> tuple[Resource, ...]:
    return tuple(
        replace(row, group=group, version=version, columns=_columns(row.columns or DEFAULT, row.to_storage))
        for row in rows
    )


def _columns(columns: Sequence[Column], to_storage: Convert | None) -> tuple[Column, ...]:
    """Columns are written for the stored form of a kind; another form is converted before a cell is read."""
    if to_storage is None:
        return tuple(columns)
    convert = to_storage

    def of_stored(cell: Cell) -> Cell:
        return lambda obj: cell(convert(obj))

    return tuple(replace(column, cell=of_stored(column.cell)) for column in columns)


def _cluster(name: str, kind: str, **more: object) -> Resource:
    return Resource(name, kind, namespaced=False, **more)  # type: ignore[arg-type]


_CORE = _served(
    "",
    "v1",
    Resource("bindings", "Binding", verbs=CREATE_ONLY),
    _cluster(
        "componentstatuses",
        "ComponentStatus",
        columns=core_columns.COMPONENT_STATUSES,
        short=("cs",),
        verbs=("get", "list"),
    ),
    Resource(
        "configmaps", "ConfigMap", columns=core_columns.CONFIG_MAPS, strategy=core.ConfigMapStrategy(), short=("cm",)
    ),
    Resource("endpoints", "Endpoints", columns=network.ENDPOINTS, strategy=core.EndpointsStrategy(), short=("ep",)),
    Resource("events", "Event", columns=core_columns.EVENTS, strategy=core.EventStrategy(), short=("ev",)),
    Resource("limitranges", "LimitRange", strategy=core.LimitRangeStrategy(), short=("limits",)),
    _cluster(
        "namespaces",
        "Namespace",
        columns=core_columns.NAMESPACES,
        strategy=core.NamespaceStrategy(),
        short=("ns",),
        verbs=_NO_DELETECOLLECTION,
        subresources=("finalize", "status"),
    ),
    _cluster(
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
    _cluster(
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
        categories=_ALL,
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
        categories=_ALL,
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
        categories=_ALL,
        subresources=("proxy", "status"),
    ),
)

_APIREGISTRATION = _served(
    "apiregistration.k8s.io",
    "v1",
    _cluster(
        "apiservices",
        "APIService",
        columns=control.API_SERVICES,
        strategy=extensions.ApiServiceStrategy(),
        categories=_EXTENSIONS,
        subresources=("status",),
    ),
)

_APPS = _served(
    "apps",
    "v1",
    Resource("controllerrevisions", "ControllerRevision", columns=work.CONTROLLER_REVISIONS, strategy=Uncounted()),
    Resource(
        "daemonsets",
        "DaemonSet",
        columns=work.DAEMON_SETS,
        strategy=workloads.DaemonSetStrategy(),
        short=("ds",),
        categories=_ALL,
        subresources=("status",),
    ),
    Resource(
        "deployments",
        "Deployment",
        columns=work.DEPLOYMENTS,
        strategy=workloads.DeploymentStrategy(),
        short=("deploy",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "replicasets",
        "ReplicaSet",
        columns=work.REPLICA_SETS,
        strategy=workloads.ReplicaSetStrategy(),
        short=("rs",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "statefulsets",
        "StatefulSet",
        columns=work.STATEFUL_SETS,
        strategy=workloads.StatefulSetStrategy(),
        short=("sts",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
)

_EVENTS = _served(
    "events.k8s.io",
    "v1",
    Resource(
        "events",
        "Event",
        columns=core_columns.EVENTS,
        strategy=core.EventStrategy(),
        short=("ev",),
        storage=GVR("", "v1", "events"),
        to_storage=conversions.event_to_core,
        from_storage=conversions.event_from_core,
    ),
)

_AUTHENTICATION = _served(
    "authentication.k8s.io",
    "v1",
    _cluster("selfsubjectreviews", "SelfSubjectReview", verbs=CREATE_ONLY),
    _cluster("tokenreviews", "TokenReview", verbs=CREATE_ONLY),
)

_AUTHORIZATION = _served(
    "authorization.k8s.io",
    "v1",
    Resource("localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=CREATE_ONLY),
    _cluster("selfsubjectaccessreviews", "SelfSubjectAccessReview", verbs=CREATE_ONLY),
    _cluster("selfsubjectrulesreviews", "SelfSubjectRulesReview", verbs=CREATE_ONLY),
    _cluster("subjectaccessreviews", "SubjectAccessReview", verbs=CREATE_ONLY),
)

_HPA = Resource(
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    columns=control.AUTOSCALERS,
    strategy=scheduling.AutoscalerStrategy(),
    short=("hpa",),
    categories=_ALL,
    subresources=("status",),
)

_AUTOSCALING = (
    *_served("autoscaling", "v2", _HPA),
    *_served(
        "autoscaling",
        "v1",
        replace(
            _HPA,
            storage=GVR("autoscaling", "v2", "horizontalpodautoscalers"),
            to_storage=conversions.autoscaler_to_v2,
            from_storage=conversions.autoscaler_from_v2,
        ),
    ),
)

_BATCH = _served(
    "batch",
    "v1",
    Resource(
        "cronjobs",
        "CronJob",
        columns=work.CRON_JOBS,
        strategy=batch.CronJobStrategy(),
        short=("cj",),
        categories=_ALL,
        subresources=("status",),
    ),
    Resource("jobs", "Job", columns=work.JOBS, strategy=batch.JobStrategy(), categories=_ALL, subresources=("status",)),
)

_CERTIFICATES = _served(
    "certificates.k8s.io",
    "v1",
    _cluster(
        "certificatesigningrequests",
        "CertificateSigningRequest",
        columns=control.CERTIFICATE_REQUESTS,
        strategy=UncountedWithStatus(),
        short=("csr",),
        subresources=("approval", "status"),
    ),
)

_NETWORKING = _served(
    "networking.k8s.io",
    "v1",
    _cluster("ingressclasses", "IngressClass", columns=network.INGRESS_CLASSES),
    Resource(
        "ingresses",
        "Ingress",
        columns=network.INGRESSES,
        strategy=networking.IngressStrategy(),
        short=("ing",),
        subresources=("status",),
    ),
    _cluster("ipaddresses", "IPAddress", columns=network.IP_ADDRESSES, strategy=Uncounted(), short=("ip",)),
    Resource(
        "networkpolicies",
        "NetworkPolicy",
        columns=network.NETWORK_POLICIES,
        strategy=networking.NetworkPolicyStrategy(),
        short=("netpol",),
    ),
    _cluster(
        "servicecidrs",
        "ServiceCIDR",
        columns=network.SERVICE_CIDRS,
        strategy=UncountedWithStatus(),
        subresources=("status",),
    ),
)

_POLICY = _served(
    "policy",
    "v1",
    Resource(
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        columns=control.DISRUPTION_BUDGETS,
        strategy=scheduling.DisruptionBudgetStrategy(),
        short=("pdb",),
        subresources=("status",),
    ),
)

_RBAC = _served(
    "rbac.authorization.k8s.io",
    "v1",
    _cluster(
        "clusterrolebindings",
        "ClusterRoleBinding",
        columns=control.CLUSTER_ROLE_BINDINGS,
        strategy=rbac.BindingStrategy(),
    ),
    _cluster("clusterroles", "ClusterRole", strategy=rbac.RoleStrategy()),
    Resource("rolebindings", "RoleBinding", columns=control.ROLE_BINDINGS, strategy=rbac.BindingStrategy()),
    Resource("roles", "Role", strategy=rbac.RoleStrategy()),
)

_STORAGE = _served(
    "storage.k8s.io",
    "v1",
    _cluster("csidrivers", "CSIDriver", columns=storage_columns.CSI_DRIVERS, strategy=extensions.DriverStrategy()),
    _cluster("csinodes", "CSINode", columns=storage_columns.CSI_NODES, strategy=Uncounted()),
    Resource(
        "csistoragecapacities", "CSIStorageCapacity", columns=storage_columns.CSI_CAPACITIES, strategy=Uncounted()
    ),
    _cluster(
        "storageclasses",
        "StorageClass",
        columns=storage_columns.STORAGE_CLASSES,
        strategy=storage.StorageClassStrategy(),
        short=("sc",),
    ),
    _cluster(
        "volumeattachments",
        "VolumeAttachment",
        columns=storage_columns.VOLUME_ATTACHMENTS,
        strategy=UncountedWithStatus(),
        subresources=("status",),
    ),
    _cluster(
        "volumeattributesclasses",
        "VolumeAttributesClass",
        columns=storage_columns.VOLUME_ATTRIBUTES_CLASSES,
        strategy=Uncounted(),
        short=("vac",),
    ),
)

_ADMISSION = _served(
    "admissionregistration.k8s.io",
    "v1",
    _cluster(
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
        columns=control.MUTATING_POLICIES,
        categories=_EXTENSIONS,
    ),
    _cluster(
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
        columns=control.POLICY_BINDINGS,
        categories=_EXTENSIONS,
    ),
    _cluster(
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        columns=control.WEBHOOKS,
        strategy=extensions.WebhookStrategy(mutating=True),
        categories=_EXTENSIONS,
    ),
    _cluster(
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        columns=control.VALIDATING_POLICIES,
        strategy=WithStatus(),
        categories=_EXTENSIONS,
        subresources=("status",),
    ),
    _cluster(
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        columns=control.POLICY_BINDINGS,
        categories=_EXTENSIONS,
    ),
    _cluster(
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        columns=control.WEBHOOKS,
        strategy=extensions.WebhookStrategy(mutating=False),
        categories=_EXTENSIONS,
    ),
)

_APIEXTENSIONS = _served(
    "apiextensions.k8s.io",
    "v1",
    _cluster(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        strategy=extensions.DefinitionStrategy(),
        short=("crd", "crds"),
        categories=_EXTENSIONS,
        subresources=("status",),
    ),
)

_SCHEDULING = _served(
    "scheduling.k8s.io",
    "v1",
    _cluster(
        "priorityclasses",
        "PriorityClass",
        columns=core_columns.PRIORITY_CLASSES,
        strategy=scheduling.PriorityClassStrategy(),
        short=("pc",),
    ),
)
_COORDINATION = _served(
    "coordination.k8s.io", "v1", Resource("leases", "Lease", columns=core_columns.LEASES, strategy=Uncounted())
)
_NODE = _served(
    "node.k8s.io",
    "v1",
    _cluster("runtimeclasses", "RuntimeClass", columns=core_columns.RUNTIME_CLASSES, strategy=Uncounted()),
)
_DISCOVERY = _served(
    "discovery.k8s.io",
    "v1",
    Resource(
        "endpointslices", "EndpointSlice", columns=network.ENDPOINT_SLICES, strategy=networking.EndpointSliceStrategy()
    ),
)

_RESOURCE = _served(
    "resource.k8s.io",
    "v1",
    _cluster("deviceclasses", "DeviceClass", columns=NAME_AND_AGE),
    Resource(
        "resourceclaims",
        "ResourceClaim",
        columns=control.RESOURCE_CLAIMS,
        strategy=UncountedWithStatus(),
        subresources=("status",),
    ),
    Resource("resourceclaimtemplates", "ResourceClaimTemplate", columns=NAME_AND_AGE, strategy=Uncounted()),
    _cluster("resourceslices", "ResourceSlice", columns=control.RESOURCE_SLICES),
)

_FLOWCONTROL = _served(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    _cluster(
        "flowschemas",
        "FlowSchema",
        columns=control.FLOW_SCHEMAS,
        strategy=extensions.FlowSchemaStrategy(),
        subresources=("status",),
    ),
    _cluster(
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
        columns=control.PRIORITY_LEVELS,
        strategy=extensions.PriorityLevelStrategy(),
        subresources=("status",),
    ),
)

RESOURCES: tuple[Resource, ...] = (
    *_CORE,
    *_APIREGISTRATION,
    *_APPS,
    *_EVENTS,
    *_AUTHENTICATION,
    *_AUTHORIZATION,
    *_AUTOSCALING,
    *_BATCH,
    *_CERTIFICATES,
    *_NETWORKING,
    *_POLICY,
    *_RBAC,
    *_STORAGE,
    *_ADMISSION,
    *_APIEXTENSIONS,
    *_SCHEDULING,
    *_COORDINATION,
    *_NODE,
    *_DISCOVERY,
    *_RESOURCE,
    *_FLOWCONTROL,
)
"""Every built-in resource. The preferred version of a group is the one listed first."""

_BY_NAME = {(row.group, row.version, row.name): row for row in RESOURCES}


def find(group: str, version: str, resource: str) -> Resource | None:
    """The row of ``resource`` (its plural name) in a group and version, or None when it is not built in."""
    return _BY_NAME.get((group, version, resource))
