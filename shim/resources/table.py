"""Which resources are served: one row each, in the order discovery lists groups and resources.

To add a kind, add a row; what makes it special (defaults, validation, printed columns) is named in the row.
"""

from __future__ import annotations

from shim.resources import (
    api_services,
    extensions,
    flow_control,
    networking,
    policies,
    rbac,
    scheduling,
    service_networks,
    storage,
)
from shim.resources.certificates import CertificateRequestStrategy
from shim.resources.columns import control, network
from shim.resources.columns import core as core_columns
from shim.resources.columns import storage as storage_columns
from shim.resources.columns.common import NAME_AND_AGE
from shim.resources.custom.definition import DefinitionStrategy
from shim.resources.devices.strategy import (
    DeviceClassStrategy,
    ResourceClaimStrategy,
    ResourceClaimTemplateStrategy,
    ResourceSliceStrategy,
)
from shim.resources.endpoint_slices import EndpointSliceStrategy
from shim.resources.leases import LeaseStrategy
from shim.resources.priority_classes import PriorityClassStrategy
from shim.resources.rows import CREATE_ONLY, EXTENSIONS, cluster, served
from shim.resources.rows_core import APPS, AUTOSCALING, BATCH, CORE, EVENTS
from shim.resources.runtime_classes import RuntimeClassStrategy
from shim.resources.strategy import Resource

_APIREGISTRATION = served(
    "apiregistration.k8s.io",
    "v1",
    cluster(
        "apiservices",
        "APIService",
        columns=control.API_SERVICES,
        strategy=api_services.ApiServiceStrategy(),
        categories=EXTENSIONS,
        subresources=("status",),
    ),
)

_AUTHENTICATION = served(
    "authentication.k8s.io",
    "v1",
    cluster("selfsubjectreviews", "SelfSubjectReview", verbs=CREATE_ONLY),
    cluster("tokenreviews", "TokenReview", verbs=CREATE_ONLY),
)

_AUTHORIZATION = served(
    "authorization.k8s.io",
    "v1",
    Resource("localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=CREATE_ONLY),
    cluster("selfsubjectaccessreviews", "SelfSubjectAccessReview", verbs=CREATE_ONLY),
    cluster("selfsubjectrulesreviews", "SelfSubjectRulesReview", verbs=CREATE_ONLY),
    cluster("subjectaccessreviews", "SubjectAccessReview", verbs=CREATE_ONLY),
)

_CERTIFICATES = served(
    "certificates.k8s.io",
    "v1",
    cluster(
        "certificatesigningrequests",
        "CertificateSigningRequest",
        columns=control.CERTIFICATE_REQUESTS,
        strategy=CertificateRequestStrategy(),
        short=("csr",),
        subresources=("approval", "status"),
    ),
)

_NETWORKING = served(
    "networking.k8s.io",
    "v1",
    cluster(
        "ingressclasses",
        "IngressClass",
        columns=network.INGRESS_CLASSES,
        strategy=networking.IngressClassStrategy(),
    ),
    Resource(
        "ingresses",
        "Ingress",
        columns=network.INGRESSES,
        strategy=networking.IngressStrategy(),
        short=("ing",),
        subresources=("status",),
    ),
    cluster(
        "ipaddresses",
        "IPAddress",
        columns=network.IP_ADDRESSES,
        strategy=service_networks.AddressStrategy(),
        short=("ip",),
    ),
    Resource(
        "networkpolicies",
        "NetworkPolicy",
        columns=network.NETWORK_POLICIES,
        strategy=networking.NetworkPolicyStrategy(),
        short=("netpol",),
    ),
    cluster(
        "servicecidrs",
        "ServiceCIDR",
        columns=network.SERVICE_CIDRS,
        strategy=service_networks.RangeStrategy(),
        subresources=("status",),
    ),
)

_POLICY = served(
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

_RBAC = served(
    "rbac.authorization.k8s.io",
    "v1",
    cluster(
        "clusterrolebindings",
        "ClusterRoleBinding",
        columns=control.CLUSTER_ROLE_BINDINGS,
        strategy=rbac.BindingStrategy(),
    ),
    cluster("clusterroles", "ClusterRole", strategy=rbac.RoleStrategy()),
    Resource("rolebindings", "RoleBinding", columns=control.ROLE_BINDINGS, strategy=rbac.BindingStrategy()),
    Resource("roles", "Role", strategy=rbac.RoleStrategy()),
)

_STORAGE = served(
    "storage.k8s.io",
    "v1",
    cluster("csidrivers", "CSIDriver", columns=storage_columns.CSI_DRIVERS, strategy=storage.DriverStrategy()),
    cluster("csinodes", "CSINode", columns=storage_columns.CSI_NODES, strategy=storage.CsiNodeStrategy()),
    Resource(
        "csistoragecapacities",
        "CSIStorageCapacity",
        strategy=storage.CapacityStrategy(),
    ),
    cluster(
        "storageclasses",
        "StorageClass",
        columns=storage_columns.STORAGE_CLASSES,
        strategy=storage.StorageClassStrategy(),
        short=("sc",),
    ),
    cluster(
        "volumeattachments",
        "VolumeAttachment",
        columns=storage_columns.VOLUME_ATTACHMENTS,
        strategy=storage.AttachmentStrategy(),
        subresources=("status",),
    ),
    cluster(
        "volumeattributesclasses",
        "VolumeAttributesClass",
        columns=storage_columns.VOLUME_ATTRIBUTES_CLASSES,
        strategy=storage.AttributesClassStrategy(),
        short=("vac",),
    ),
)

_ADMISSION = served(
    "admissionregistration.k8s.io",
    "v1",
    cluster(
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
        columns=control.MUTATING_POLICIES,
        strategy=policies.PolicyStrategy(mutating=True),
        categories=EXTENSIONS,
    ),
    cluster(
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
        columns=control.POLICY_BINDINGS,
        strategy=policies.BindingStrategy(mutating=True),
        categories=EXTENSIONS,
    ),
    cluster(
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        columns=control.WEBHOOKS,
        strategy=extensions.WebhookStrategy(mutating=True),
        categories=EXTENSIONS,
    ),
    cluster(
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        columns=control.VALIDATING_POLICIES,
        strategy=policies.PolicyStrategy(mutating=False),
        categories=EXTENSIONS,
        subresources=("status",),
    ),
    cluster(
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        columns=control.POLICY_BINDINGS,
        strategy=policies.BindingStrategy(mutating=False),
        categories=EXTENSIONS,
    ),
    cluster(
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        columns=control.WEBHOOKS,
        strategy=extensions.WebhookStrategy(mutating=False),
        categories=EXTENSIONS,
    ),
)

_APIEXTENSIONS = served(
    "apiextensions.k8s.io",
    "v1",
    cluster(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        strategy=DefinitionStrategy(),
        short=("crd", "crds"),
        categories=EXTENSIONS,
        subresources=("status",),
    ),
)

_SCHEDULING = served(
    "scheduling.k8s.io",
    "v1",
    cluster(
        "priorityclasses",
        "PriorityClass",
        columns=core_columns.PRIORITY_CLASSES,
        strategy=PriorityClassStrategy(),
        short=("pc",),
    ),
)

_COORDINATION = served(
    "coordination.k8s.io", "v1", Resource("leases", "Lease", columns=core_columns.LEASES, strategy=LeaseStrategy())
)

_NODE = served(
    "node.k8s.io",
    "v1",
    cluster("runtimeclasses", "RuntimeClass", columns=core_columns.RUNTIME_CLASSES, strategy=RuntimeClassStrategy()),
)

_DISCOVERY = served(
    "discovery.k8s.io",
    "v1",
    Resource("endpointslices", "EndpointSlice", columns=network.ENDPOINT_SLICES, strategy=EndpointSliceStrategy()),
)

_RESOURCE = served(
    "resource.k8s.io",
    "v1",
    cluster("deviceclasses", "DeviceClass", columns=NAME_AND_AGE, strategy=DeviceClassStrategy()),
    Resource(
        "resourceclaims",
        "ResourceClaim",
        columns=control.RESOURCE_CLAIMS,
        strategy=ResourceClaimStrategy(),
        subresources=("status",),
    ),
    Resource(
        "resourceclaimtemplates",
        "ResourceClaimTemplate",
        columns=NAME_AND_AGE,
        strategy=ResourceClaimTemplateStrategy(),
    ),
    cluster("resourceslices", "ResourceSlice", columns=control.RESOURCE_SLICES, strategy=ResourceSliceStrategy()),
)

_FLOWCONTROL = served(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    cluster(
        "flowschemas",
        "FlowSchema",
        columns=control.FLOW_SCHEMAS,
        strategy=flow_control.FlowSchemaStrategy(),
        subresources=("status",),
    ),
    cluster(
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
        columns=control.PRIORITY_LEVELS,
        strategy=flow_control.PriorityLevelStrategy(),
        subresources=("status",),
    ),
)

RESOURCES: tuple[Resource, ...] = (
    *CORE,
    *_APIREGISTRATION,
    *APPS,
    *EVENTS,
    *_AUTHENTICATION,
    *_AUTHORIZATION,
    *AUTOSCALING,
    *BATCH,
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
