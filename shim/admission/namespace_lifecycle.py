"""Nothing is created in a namespace that is missing or on its way out, and some namespaces stay for ever."""

from __future__ import annotations

from shim.admission.request import CREATE, DELETE, UPDATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR
from shim.api.status import forbidden, not_found

NAMESPACES = GVR("", "v1", "namespaces", namespaced=False)
IMMORTAL = ("default", "kube-system", "kube-public")
_REVIEW = ("authorization.k8s.io", "localsubjectaccessreviews")


class NamespaceLifecycle(Plugin):
    """Looks at every namespaced write first."""

    async def mutate(self, request: Request, reader: Reader) -> None:
        resource = request.resource
        if resource.name == "namespaces" and not resource.group:
            if request.operation == DELETE and request.name in IMMORTAL:
                raise forbidden("", "namespaces", request.name, "this namespace may not be deleted")
            return
        namespace = request.namespace
        if not namespace or request.operation not in (CREATE, UPDATE) or (resource.group, resource.name) == _REVIEW:
            return
        found = reader.get(NAMESPACES, None, namespace)
        if found is None:
            raise not_found("", "namespaces", namespace)
        terminating = (found.get("status") or {}).get("phase") == "Terminating"
        if request.operation == CREATE and terminating:
            error = refuse(
                request, f"unable to create new content in namespace {namespace} because it is being terminated"
            )
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            error.details = {**(error.details or {}), "causes": [cause]}
            raise error
