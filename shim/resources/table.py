"""Which resources are served: one row each, in the order discovery lists groups and resources.

To add a kind, add a row; what makes it special (defaults, validation, printed columns) is named in the row.
"""

from __future__ import annotations

from dataclasses import replace

from shim.api.meta import GVR
from shim.resources.strategy import ALL_VERBS, Resource

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
    Resource("configmaps", "ConfigMap", short=("cm",)),
    Resource("endpoints", "Endpoints", short=("ep",)),
    Resource("events", "Event", short=("ev",)),
    Resource("limitranges", "LimitRange", short=("limits",)),
    _cluster("namespaces", "Namespace", short=("ns",), verbs=_NO_DELETECOLLECTION, subresources=("finalize", "status")),
    _cluster("nodes", "Node", short=("no",), subresources=("proxy", "status")),
    Resource("persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",), subresources=("status",)),
    _cluster("persistentvolumes", "PersistentVolume", short=("pv",), subresources=("status",)),
    Resource(
        "pods",
        "Pod",
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
    Resource("podtemplates", "PodTemplate"),
    Resource(
        "replicationcontrollers",
        "ReplicationController",
        short=("rc",),
        categories=_ALL,
        subresources=("scale", "status"),
    ),
    Resource("resourcequotas", "ResourceQuota", short=("quota",), subresources=("status",)),
    Resource("secrets", "Secret"),
    Resource("serviceaccounts", "ServiceAccount", short=("sa",), subresources=("token",)),
    Resource("services", "Service", short=("svc",), categories=_ALL, subresources=("proxy", "status")),
)

_APIREGISTRATION = _served(
    "apiregistration.k8s.io",
    "v1",
    _cluster("apiservices", "APIService", categories=_EXTENSIONS, subresources=("status",)),
)

_APPS = _served(
    "apps",
    "v1",
    Resource("controllerrevisions", "ControllerRevision"),
    Resource("daemonsets", "DaemonSet", short=("ds",), categories=_ALL, subresources=("status",)),
    Resource("deployments", "Deployment", short=("deploy",), categories=_ALL, subresources=("scale", "status")),
    Resource("replicasets", "ReplicaSet", short=("rs",), categories=_ALL, subresources=("scale", "status")),
    Resource("statefulsets", "StatefulSet", short=("sts",), categories=_ALL, subresources=("scale", "status")),
)

_EVENTS = _served(
    "events.k8s.io",
    "v1",
    Resource("events", "Event", short=("ev",), storage=GVR("", "v1", "events")),
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
    "horizontalpodautoscalers", "HorizontalPodAutoscaler", short=("hpa",), categories=_ALL, subresources=("status",)
)

_AUTOSCALING = (
    *_served("autoscaling", "v2", _HPA),
    *_served("autoscaling", "v1", replace(_HPA, storage=GVR("autoscaling", "v2", "horizontalpodautoscalers"))),
)

_BATCH = _served(
    "batch",
    "v1",
    Resource("cronjobs", "CronJob", short=("cj",), categories=_ALL, subresources=("status",)),
    Resource("jobs", "Job", categories=_ALL, subresources=("status",)),
)

_CERTIFICATES = _served(
    "certificates.k8s.io",
    "v1",
    _cluster(
        "certificatesigningrequests", "CertificateSigningRequest", short=("csr",), subresources=("approval", "status")
    ),
)

_NETWORKING = _served(
    "networking.k8s.io",
    "v1",
    _cluster("ingressclasses", "IngressClass"),
    Resource("ingresses", "Ingress", short=("ing",), subresources=("status",)),
    _cluster("ipaddresses", "IPAddress", short=("ip",)),
    Resource("networkpolicies", "NetworkPolicy", short=("netpol",)),
    _cluster("servicecidrs", "ServiceCIDR", subresources=("status",)),
)

_POLICY = _served(
    "policy",
    "v1",
    Resource("poddisruptionbudgets", "PodDisruptionBudget", short=("pdb",), subresources=("status",)),
)

_RBAC = _served(
    "rbac.authorization.k8s.io",
    "v1",
    _cluster("clusterrolebindings", "ClusterRoleBinding"),
    _cluster("clusterroles", "ClusterRole"),
    Resource("rolebindings", "RoleBinding"),
    Resource("roles", "Role"),
)

_STORAGE = _served(
    "storage.k8s.io",
    "v1",
    _cluster("csidrivers", "CSIDriver"),
    _cluster("csinodes", "CSINode"),
    Resource("csistoragecapacities", "CSIStorageCapacity"),
    _cluster("storageclasses", "StorageClass", short=("sc",)),
    _cluster("volumeattachments", "VolumeAttachment", subresources=("status",)),
    _cluster("volumeattributesclasses", "VolumeAttributesClass", short=("vac",)),
)

_ADMISSION = _served(
    "admissionregistration.k8s.io",
    "v1",
    _cluster("mutatingadmissionpolicies", "MutatingAdmissionPolicy", categories=_EXTENSIONS),
    _cluster("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", categories=_EXTENSIONS),
    _cluster("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", categories=_EXTENSIONS),
    _cluster(
        "validatingadmissionpolicies", "ValidatingAdmissionPolicy", categories=_EXTENSIONS, subresources=("status",)
    ),
    _cluster("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", categories=_EXTENSIONS),
    _cluster("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", categories=_EXTENSIONS),
)

_APIEXTENSIONS = _served(
    "apiextensions.k8s.io",
    "v1",
    _cluster(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        short=("crd", "crds"),
        categories=_EXTENSIONS,
        subresources=("status",),
    ),
)

_SCHEDULING = _served("scheduling.k8s.io", "v1", _cluster("priorityclasses", "PriorityClass", short=("pc",)))
_COORDINATION = _served("coordination.k8s.io", "v1", Resource("leases", "Lease"))
_NODE = _served("node.k8s.io", "v1", _cluster("runtimeclasses", "RuntimeClass"))
_DISCOVERY = _served("discovery.k8s.io", "v1", Resource("endpointslices", "EndpointSlice"))

_RESOURCE = _served(
    "resource.k8s.io",
    "v1",
    _cluster("deviceclasses", "DeviceClass"),
    Resource("resourceclaims", "ResourceClaim", subresources=("status",)),
    Resource("resourceclaimtemplates", "ResourceClaimTemplate"),
    _cluster("resourceslices", "ResourceSlice"),
)

_FLOWCONTROL = _served(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    _cluster("flowschemas", "FlowSchema", subresources=("status",)),
    _cluster("prioritylevelconfigurations", "PriorityLevelConfiguration", subresources=("status",)),
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
