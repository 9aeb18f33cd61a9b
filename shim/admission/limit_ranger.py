"""LimitRanges: what a container gets when it does not say, and the least and most a namespace lets anything take."""

from __future__ import annotations

from collections.abc import Iterator

from shim.admission.request import CREATE, UPDATE, Plugin, Reader, Request, refuse, together
from shim.api.meta import GVR, Object
from shim.api.pod_amounts import Amounts, parsed, pod_total

LIMIT_RANGES = GVR("", "v1", "limitranges")
ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    resources = (("", "pods"), ("", "persistentvolumeclaims"))

    async def mutate(self, request: Request, reader: Reader) -> None:
        resized = request.is_for("pods", UPDATE, subresource="resize")
        if request.obj is None or not (resized or request.is_for("pods", CREATE)):
            return
        for limit_range in reader.list(LIMIT_RANGES, request.namespace):
            _fill_in(request.obj, limit_range)

    async def validate(self, request: Request, reader: Reader) -> None:
        if not _concerns(request):
            return
        for limit_range in reader.list(LIMIT_RANGES, request.namespace):
            complaints = list(_complaints(request, limit_range))
            if complaints:
                raise refuse(request, together(complaints))


def _concerns(request: Request) -> bool:
    """New pods, resized pods, and claims that are made or changed; nothing that is on its way out."""
    if request.obj is None or (request.old is not None and request.old["metadata"].get("deletionTimestamp")):
        return False
    return (
        request.is_for("pods", CREATE)
        or request.is_for("pods", UPDATE, subresource="resize")
        or request.is_for("persistentvolumeclaims", CREATE, UPDATE)
    )


def _fill_in(pod: Object, limit_range: Object) -> None:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for limit in limit_range["spec"].get("limits") or ():
        if limit.get("type") == "Container":
            requests.update(limit.get("defaultRequest") or {})
            limits.update(limit.get("default") or {})
    notes: list[str] = []
    for field, what in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            resources = dict(container.get("resources") or {})
            for kind, defaults in (("requests", requests), ("limits", limits)):
                own = resources.get(kind) or {}
                added = sorted(set(defaults) - set(own))
                if added:
                    resources[kind] = {**own, **{name: defaults[name] for name in added}}
                    notes.append(f"{', '.join(added)} {kind[:-1]} for {what} {container.get('name')}")
            container["resources"] = resources
    if notes:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}"}


def _complaints(request: Request, limit_range: Object) -> Iterator[str]:
    assert request.obj is not None
    spec = request.obj["spec"]
    is_pod = request.resource.name == "pods"
    for limit in limit_range["spec"].get("limits") or ():
        kind = limit.get("type")
        if kind == "PersistentVolumeClaim" and not is_pod:
            requests = parsed((spec.get("resources") or {}).get("requests"))
            yield from _least(kind, limit, requests, {})
            for name, most in parsed(limit.get("max")).items():
                if name not in requests:
                    yield f"maximum {name} usage per {kind} is {most}.  No request is specified"
                elif requests[name] > most:
                    yield f"maximum {name} usage per {kind} is {most}, but request is {requests[name]}"
        elif kind == "Container" and is_pod:
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                resources = container.get("resources") or {}
                yield from _bounds(kind, limit, parsed(resources.get("requests")), parsed(resources.get("limits")))
        elif kind == "Pod" and is_pod:
            yield from _bounds(kind, limit, pod_total(spec, "requests"), pod_total(spec, "limits"))


def _bounds(kind: str, limit: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    yield from _least(kind, limit, requests, limits)
    for name, most in parsed(limit.get("max")).items():
        text = f"maximum {name} usage per {kind} is {most}"
        if name not in limits:
            yield f"{text}.  No limit is specified"
        elif limits[name] > most:
            yield f"{text}, but limit is {limits[name]}"
        elif name in requests and requests[name] > most:
            yield f"{text}, but request is {requests[name]}"
    for name, ratio in parsed(limit.get("maxLimitRequestRatio")).items():
        text = f"{name} max limit to request ratio per {kind} is {ratio}, but"
        if not requests.get(name):
            yield f"{text} no request is specified or request is 0"
        elif not limits.get(name):
            yield f"{text} no limit is specified or limit is 0"
        elif limits[name].nanos / requests[name].nanos > ratio.nanos / 10**9:
            yield f"{text} provided ratio is {limits[name].nanos / requests[name].nanos:f}"


def _least(kind: str, limit: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, least in parsed(limit.get("min")).items():
        text = f"minimum {name} usage per {kind} is {least}"
        if name not in requests:
            yield f"{text}.  No request is specified"
        elif requests[name] < least:
            yield f"{text}, but request is {requests[name]}"
        elif name in limits and limits[name] < least:
            yield f"{text}, but limit is {limits[name]}"
