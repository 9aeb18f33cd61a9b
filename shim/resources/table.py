"""Which resources are served: one row each, in the order discovery lists groups and resources.

To add a kind, add a row; what makes it special (defaults, validation, printed columns) is named in the row.
"""

from __future__ import annotations

from dataclasses import replace

from shim.api.meta import GVR
from shim.resources import core, extensions, networking, rbac, scheduling, storage
from shim.resources.pods.strategy import PodStrategy
from shim.resources.services import ServiceStrategy
from shim.resources.strategy import ALL_VERBS, Resource, Uncounted, UncountedWithStatus, WithStatus
from shim.resources.workloads import batch
from shim.resources.workloads import strategy as workloads

CREATE_ONLY = ("create",)  # reviews and bindings are questions and orders: nothing is kept under these names
_NO_DELETECOLLECTION = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
_ALL = ("all",)
_EXTENSIONS = ("api-extensions",)


def _served(group: str, version: str, *rows: Resource) -> tuple[Resource, ...]:
    return tuple(replace(row, group=group, version=version) for row in rows)


def _cluster(name: str, kind: str, **more: object) -> Resource:
    return Resource(name, kind, namespaced=False, **more)  # type: ignore[arg-type]


_CORE = _served(
    "",
    "v1",
    Resource("bindings", "Binding", verbs=CREATE_ONLY),
    _cluster("componentstatuses", "ComponentStatus", short=("cs",), verbs=("get", "list")),
    Resource("configmaps", "ConfigMap", strategy=core.ConfigMapStrategy(), short=("cm",)),
    Resource("endpoints", "Endpoints", strategy=core.EndpointsStrategy(), short=("ep",)),
    Resource("events", "Event", strategy=core.EventStrategy(), short=("ev",)),
    Resource("limitranges", "LimitRange", strategy=core.LimitRangeStrategy(), short=("limits",)),
    _cluster(
        "namespaces",
        "Namespace",
        strategy=core.NamespaceStrategy(),
        short=("ns",),
        verbs=_NO_DELETECOLLECTION,
        subresources=("finalize", "status"),
    ),
    _cluster("nodes", "Node", strategy=core.NodeStrategy(), short=("no",), subresources=("proxy", "status")),
    Resource(
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        strategy=storage.ClaimStrategy(),
        short=("pvc",),
        subresources=("status",),
    ),
    _cluster(
        "persistentvolumes",
        "PersistentVolume",
        strategy=storage.VolumeStrategy(),
        short=("pv",),
        subresources=("status",),
    ),
    Resource(
        "pods",
        "Pod",
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
    Resource("podtemplates", "PodTemplate", strategy=workloads.PodTemplateStrategy()),
    Resource(
        "replicationcontrollers",
        "ReplicationController",
        strategy=workloads.ReplicationControllerStrategy(),
        short=("rc",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "resourcequotas",
        "ResourceQuota",
        strategy=core.ResourceQuotaStrategy(),
        short=("quota",),
        subresources=("status",),
    ),
    Resource("secrets", "Secret", strategy=core.SecretStrategy()),
    Resource(
        "serviceaccounts",
        "ServiceAccount",
        strategy=core.ServiceAccountStrategy(),
        short=("sa",),
        subresources=("token",),
    ),
    Resource(
        "services",
        "Service",
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
        strategy=extensions.ApiServiceStrategy(),
        categories=_EXTENSIONS,
        subresources=("status",),
    ),
)

_APPS = _served(
    "apps",
    "v1",
    Resource("controllerrevisions", "ControllerRevision", strategy=Uncounted()),
    Resource(
        "daemonsets",
        "DaemonSet",
        strategy=workloads.DaemonSetStrategy(),
        short=("ds",),
        categories=_ALL,
        subresources=("status",),
    ),
    Resource(
        "deployments",
        "Deployment",
        strategy=workloads.DeploymentStrategy(),
        short=("deploy",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "replicasets",
        "ReplicaSet",
        strategy=workloads.ReplicaSetStrategy(),
        short=("rs",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
    Resource(
        "statefulsets",
        "StatefulSet",
        strategy=workloads.StatefulSetStrategy(),
        short=("sts",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
)

_EVENTS = _served(
    "events.k8s.io",
    "v1",
    Resource("events", "Event", strategy=core.EventStrategy(), short=("ev",), storage=GVR("", "v1", "events")),
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
    strategy=scheduling.AutoscalerStrategy(),
    short=("hpa",),
    categories=_ALL,
    subresources=("status",),
)

_AUTOSCALING = (
    *_served("autoscaling", "v2", _HPA),
    *_served("autoscaling", "v1", replace(_HPA, storage=GVR("autoscaling", "v2", "horizontalpodautoscalers"))),
)

_BATCH = _served(
    "batch",
    "v1",
    Resource(
        "cronjobs",
        "CronJob",
        strategy=batch.CronJobStrategy(),
        short=("cj",),
        categories=_ALL,
        subresources=("status",),
    ),
    Resource("jobs", "Job", strategy=batch.JobStrategy(), categories=_ALL, subresources=("status",)),
)

_CERTIFICATES = _served(
    "certificates.k8s.io",
    "v1",
    _cluster(
        "certificatesigningrequests",
        "CertificateSigningRequest",
        strategy=UncountedWithStatus(),
        short=("csr",),
        subresources=("approval", "status"),
    ),
)

_NETWORKING = _served(
    "networking.k8s.io",
    "v1",
    _cluster("ingressclasses", "IngressClass"),
    Resource("ingresses", "Ingress", strategy=networking.IngressStrategy(), short=("ing",), subresources=("status",)),
    _cluster("ipaddresses", "IPAddress", strategy=Uncounted(), short=("ip",)),
    Resource("networkpolicies", "NetworkPolicy", strategy=networking.NetworkPolicyStrategy(), short=("netpol",)),
    _cluster("servicecidrs", "ServiceCIDR", strategy=UncountedWithStatus(), subresources=("status",)),
)

_POLICY = _served(
    "policy",
    "v1",
    Resource(
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        strategy=scheduling.DisruptionBudgetStrategy(),
        short=("pdb",),
        subresources=("status",),
    ),
)

_RBAC = _served(
    "rbac.authorization.k8s.io",
    "v1",
    _cluster("clusterrolebindings", "ClusterRoleBinding", strategy=rbac.BindingStrategy()),
    _cluster("clusterroles", "ClusterRole", strategy=rbac.RoleStrategy()),
    Resource("rolebindings", "RoleBinding", strategy=rbac.BindingStrategy()),
    Resource("roles", "Role", strategy=rbac.RoleStrategy()),
)

_STORAGE = _served(
    "storage.k8s.io",
    "v1",
    _cluster("csidrivers", "CSIDriver", strategy=extensions.DriverStrategy()),
    _cluster("csinodes", "CSINode", strategy=Uncounted()),
    Resource("csistoragecapacities", "CSIStorageCapacity", strategy=Uncounted()),
    _cluster("storageclasses", "StorageClass", strategy=storage.StorageClassStrategy(), short=("sc",)),
    _cluster("volumeattachments", "VolumeAttachment", strategy=UncountedWithStatus(), subresources=("status",)),
    _cluster("volumeattributesclasses", "VolumeAttributesClass", strategy=Uncounted(), short=("vac",)),
)

_ADMISSION = _served(
    "admissionregistration.k8s.io",
    "v1",
    _cluster("mutatingadmissionpolicies", "MutatingAdmissionPolicy", categories=_EXTENSIONS),
    _cluster("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", categories=_EXTENSIONS),
    _cluster(
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        strategy=extensions.WebhookStrategy(mutating=True),
        categories=_EXTENSIONS,
    ),
    _cluster(
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        strategy=WithStatus(),
        categories=_EXTENSIONS,
        subresources=("status",),
    ),
    _cluster("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", categories=_EXTENSIONS),
    _cluster(
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
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
    _cluster("priorityclasses", "PriorityClass", strategy=scheduling.PriorityClassStrategy(), short=("pc",)),
)
_COORDINATION = _served("coordination.k8s.io", "v1", Resource("leases", "Lease", strategy=Uncounted()))
_NODE = _served("node.k8s.io", "v1", _cluster("runtimeclasses", "RuntimeClass", strategy=Uncounted()))
_DISCOVERY = _served(
    "discovery.k8s.io", "v1", Resource("endpointslices", "EndpointSlice", strategy=networking.EndpointSliceStrategy())
)

_RESOURCE = _served(
    "resource.k8s.io",
    "v1",
    _cluster("deviceclasses", "DeviceClass"),
    Resource("resourceclaims", "ResourceClaim", strategy=UncountedWithStatus(), subresources=("status",)),
    Resource("resourceclaimtemplates", "ResourceClaimTemplate", strategy=Uncounted()),
    _cluster("resourceslices", "ResourceSlice"),
)

_FLOWCONTROL = _served(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    _cluster("flowschemas", "FlowSchema", strategy=extensions.FlowSchemaStrategy(), subresources=("status",)),
    _cluster(
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
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
