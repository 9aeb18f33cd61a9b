"""What is each built-in resource called? One constant per resource, for use as ``r.PODS``.

The scope stands with the name, so that a path can be made without asking the server first.
"""

from __future__ import annotations

from shim.api.meta import GVR, Object

PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
ENDPOINTS = GVR("", "v1", "endpoints")
CONFIGMAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
SERVICEACCOUNTS = GVR("", "v1", "serviceaccounts")
EVENTS = GVR("", "v1", "events")
PODTEMPLATES = GVR("", "v1", "podtemplates")
LIMITRANGES = GVR("", "v1", "limitranges")
RESOURCEQUOTAS = GVR("", "v1", "resourcequotas")
REPLICATIONCONTROLLERS = GVR("", "v1", "replicationcontrollers")
PERSISTENTVOLUMECLAIMS = GVR("", "v1", "persistentvolumeclaims")
PERSISTENTVOLUMES = GVR("", "v1", "persistentvolumes", False)
NODES = GVR("", "v1", "nodes", False)
NAMESPACES = GVR("", "v1", "namespaces", False)

DEPLOYMENTS = GVR("apps", "v1", "deployments")
REPLICASETS = GVR("apps", "v1", "replicasets")
DAEMONSETS = GVR("apps", "v1", "daemonsets")
STATEFULSETS = GVR("apps", "v1", "statefulsets")
CONTROLLERREVISIONS = GVR("apps", "v1", "controllerrevisions")

JOBS = GVR("batch", "v1", "jobs")
CRONJOBS = GVR("batch", "v1", "cronjobs")

LEASES = GVR("coordination.k8s.io", "v1", "leases")
ENDPOINTSLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
EVENTS_V1 = GVR("events.k8s.io", "v1", "events")
HORIZONTALPODAUTOSCALERS = GVR("autoscaling", "v2", "horizontalpodautoscalers")
PODDISRUPTIONBUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
PRIORITYCLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses", False)
RUNTIMECLASSES = GVR("node.k8s.io", "v1", "runtimeclasses", False)

INGRESSES = GVR("networking.k8s.io", "v1", "ingresses")
INGRESSCLASSES = GVR("networking.k8s.io", "v1", "ingressclasses", False)
NETWORKPOLICIES = GVR("networking.k8s.io", "v1", "networkpolicies")
SERVICECIDRS = GVR("networking.k8s.io", "v1", "servicecidrs", False)
IPADDRESSES = GVR("networking.k8s.io", "v1", "ipaddresses", False)

ROLES = GVR("rbac.authorization.k8s.io", "v1", "roles")
ROLEBINDINGS = GVR("rbac.authorization.k8s.io", "v1", "rolebindings")
CLUSTERROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles", False)
CLUSTERROLEBINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings", False)

STORAGECLASSES = GVR("storage.k8s.io", "v1", "storageclasses", False)
VOLUMEATTRIBUTESCLASSES = GVR("storage.k8s.io", "v1", "volumeattributesclasses", False)
VOLUMEATTACHMENTS = GVR("storage.k8s.io", "v1", "volumeattachments", False)
CSINODES = GVR("storage.k8s.io", "v1", "csinodes", False)
CSIDRIVERS = GVR("storage.k8s.io", "v1", "csidrivers", False)

CERTIFICATESIGNINGREQUESTS = GVR("certificates.k8s.io", "v1", "certificatesigningrequests", False)
VALIDATINGADMISSIONPOLICIES = GVR("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", False)
CUSTOMRESOURCEDEFINITIONS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions", False)
APISERVICES = GVR("apiregistration.k8s.io", "v1", "apiservices", False)

TOKENREVIEWS = GVR("authentication.k8s.io", "v1", "tokenreviews", False)
SELFSUBJECTREVIEWS = GVR("authentication.k8s.io", "v1", "selfsubjectreviews", False)
SUBJECTACCESSREVIEWS = GVR("authorization.k8s.io", "v1", "subjectaccessreviews", False)
SELFSUBJECTACCESSREVIEWS = GVR("authorization.k8s.io", "v1", "selfsubjectaccessreviews", False)


def from_discovery(group_version: str, resource: Object) -> GVR:
    """The name of a resource as discovery lists it (``APIResource`` of an ``APIResourceList``)."""
    group, _, version = group_version.rpartition("/")
    return GVR(
        resource.get("group") or group,
        resource.get("version") or version,
        resource["name"],
        bool(resource.get("namespaced")),
    )
