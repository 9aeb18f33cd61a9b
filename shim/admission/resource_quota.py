"""ResourceQuotas: how many objects, and how much of everything, a namespace may hold.

What is used is counted from the objects themselves at each creation, so no usage can drift from the truth.
Two creations at the same moment may both see room for one; the next is refused.
"""

from __future__ import annotations

from shim.admission.pod_amounts import Amounts, pod_total
from shim.admission.request import CREATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR, Object
from shim.api.quantity import Quantity
from shim.resources.amounts import amount
from shim.resources.pods.qos import qos_class

QUOTAS = GVR("", "v1", "resourcequotas")
_ONE = Quantity(10**9)
_COUNTED = ("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")


class ResourceQuota(Plugin):
    async def validate(self, request: Request, reader: Reader) -> None:
        if request.operation != CREATE or request.subresource or not request.namespace or request.obj is None:
            return
        for quota in reader.list(QUOTAS, request.namespace):
            self._check(request, reader, quota)

    def _check(self, request: Request, reader: Reader, quota: Object) -> None:
        assert request.obj is not None
        name, spec = quota["metadata"]["name"], quota.get("spec") or {}
        hard = {key: amount(text) for key, text in (spec.get("hard") or {}).items()}
        if not hard or not _in_scope(request, request.obj, spec):
            return
        _must_specify(request, name, hard)
        wanted = {key: value for key, value in _usage(request, request.obj).items() if key in hard and value}
        if not wanted:
            return
        used: Amounts = {}
        for each in reader.list(request.resource.storage or request.resource.gvr, request.namespace):
            if _in_scope(request, each, spec):
                for key, value in _usage(request, each).items():
                    if key in wanted:
                        used[key] = used[key] + value if key in used else value
        over = sorted(key for key in wanted if used.get(key, Quantity(0)) + wanted[key] > hard[key])
        if over:
            parts = (("requested", wanted), ("used", used), ("limited", hard))
            text = ", ".join(
                f"{what}: {','.join(f'{key}={values.get(key, Quantity(0))}' for key in over)}" for what, values in parts
            )
            raise refuse(request, f"exceeded quota: {name}, {text}")


def _usage(request: Request, obj: Object) -> Amounts:
    """What one object takes of everything a quota can name."""
    resource = request.resource
    if resource.name == "pods" and (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return {}
    counted = f"{resource.name}.{resource.group}" if resource.group else resource.name
    usage: Amounts = {f"count/{counted}": _ONE}
    if resource.group:
        return usage
    if resource.name in _COUNTED:
        usage[resource.name] = _ONE
    spec = obj.get("spec") or {}
    if resource.name == "pods":
        requests, limits = pod_total(spec, "requests"), pod_total(spec, "limits")
        for key, value in requests.items():
            usage[f"requests.{key}"] = value
            if key in _COMPUTE:
                usage[key] = value
        usage |= {f"limits.{key}": value for key, value in limits.items()}
    elif resource.name == "services":
        usage["services"] = _ONE
        ports = Quantity(len(spec.get("ports") or ()) * 10**9)
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            usage["services.nodeports"] = ports
        if spec.get("type") == "LoadBalancer":
            usage["services.loadbalancers"] = _ONE
    elif resource.name == "persistentvolumeclaims":
        storage = amount(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
        usage["requests.storage"] = storage
        if spec.get("storageClassName"):
            prefix = f"{spec['storageClassName']}.storageclass.storage.k8s.io"
            usage[f"{prefix}/requests.storage"] = storage
            usage[f"{prefix}/persistentvolumeclaims"] = _ONE
    return usage


def _must_specify(request: Request, quota: str, hard: Amounts) -> None:
    """A pod that does not say what it takes could not be counted."""
    if request.resource.name != "pods" or request.obj is None:
        return
    missing: dict[str, list[str]] = {}
    spec = request.obj["spec"]
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        for key in hard:
            field, _, name = key.partition(".") if key.startswith(("requests.", "limits.")) else ("requests", "", key)
            if name not in _COMPUTE or name in (spec.get("resources") or {}).get(field, ()):
                continue
            if name not in (resources.get(field) or ()):
                missing.setdefault(container.get("name", ""), []).append(key)
    if missing:
        by_need: dict[str, list[str]] = {}
        for container, keys in missing.items():
            for key in keys:
                by_need.setdefault(key, []).append(container)
        text = "; ".join(f"{key} for: {','.join(sorted(names))}" for key, names in sorted(by_need.items()))
        raise refuse(request, f"failed quota: {quota}: must specify {text}")


def _in_scope(request: Request, obj: Object, spec: Object) -> bool:
    """Whether a quota with scopes speaks of this object; scopes speak of pods alone."""
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not scopes:
        return True
    if request.resource.name != "pods" or request.resource.group:
        return False
    pod = obj.get("spec") or {}
    terminating = pod.get("activeDeadlineSeconds") is not None
    best_effort = qos_class(pod) == "BestEffort"
    for scope in scopes:
        name, operator = scope.get("scopeName"), scope.get("operator", "Exists")
        held = {
            "Terminating": terminating,
            "NotTerminating": not terminating,
            "BestEffort": best_effort,
            "NotBestEffort": not best_effort,
        }.get(name or "")
        if held is False:
            return False
        if name == "PriorityClass":
            found, values = pod.get("priorityClassName") or "", scope.get("values") or ()
            fits = {
                "Exists": bool(found),
                "DoesNotExist": not found,
                "In": found in values,
                "NotIn": found not in values,
            }
            if not fits.get(operator, False):
                return False
    return True
