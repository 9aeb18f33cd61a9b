"""ResourceQuotas: how many objects, and how much of everything, a namespace may hold.

A write that takes more adds to ``status.used`` of every quota it falls under, in the same transaction that stores its
object: both happen or neither does, so that no two writers can have the last of something, and no failed write leaves
a trace. Writers of one namespace go one after the other for as long as the store takes. What is given back is counted
by the quota controller, which cannot undo a charge it has not seen: it writes only over the revision it read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from shim.admission.request import CREATE, UPDATE, Charge, Plugin, Reader, Request, refuse
from shim.api import quota as rules
from shim.api.meta import GVR, Object
from shim.api.pod_amounts import Amounts, parsed
from shim.api.quantity import ZERO

QUOTAS = GVR("", "v1", "resourcequotas")


@dataclass(frozen=True, slots=True)
class _Due:
    """What a request takes of one quota."""

    quota: Object
    amounts: Amounts


class ResourceQuota(Plugin):
    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def charge(self, request: Request, reader: Reader) -> None:
        namespace = request.namespace
        if not namespace or request.obj is None or not _handles(request) or not reader.list(QUOTAS, namespace):
            return
        turn = self._turns.setdefault(namespace, asyncio.Lock())
        await turn.acquire()
        request.held.append(turn.release)
        for due in _due(request, reader.list(QUOTAS, namespace)):
            hard, used = (parsed(due.quota["status"].get(field)) for field in ("hard", "used"))
            total = rules.added(used, due.amounts)
            over = sorted(name for name in due.amounts if total[name] > hard[name])
            if over and request.subresource != "status":
                parts = (("requested", due.amounts), ("used", used), ("limited", hard))
                shown = (
                    f"{what}: {','.join(f'{name}={values.get(name, ZERO)}' for name in over)}" for what, values in parts
                )
                raise refuse(request, f"exceeded quota: {due.quota['metadata']['name']}, {', '.join(shown)}")
            status = {**due.quota["status"], "used": {name: str(total[name]) for name in sorted(total)}}
            request.charges.append(Charge(QUOTAS, {**due.quota, "status": status}))


def _handles(request: Request) -> bool:
    """Whether this write can take more of anything."""
    resource, operation = request.resource, request.operation
    kind = rules.qualified(resource.group, resource.name)
    if kind in rules.UNCOUNTED or "list" not in resource.verbs:
        return False
    if operation == CREATE:
        return not request.subresource
    if operation != UPDATE or request.obj is None or request.old is None:
        return False
    match kind, request.subresource:
        case "pods", "":  # it may have changed its scope
            return rules.is_terminating(request.obj) != rules.is_terminating(request.old)
        case "persistentvolumeclaims", "status":
            new, old = request.obj, request.old
            return rules.storage_of(new) != rules.storage_of(old) or (
                rules.attributes_classes(new) != rules.attributes_classes(old)
            )
        case ("pods", "resize") | ("services" | "persistentvolumeclaims", ""):
            return True
    return False


def _due(request: Request, quotas: list[Object]) -> Iterator[_Due]:
    """What each quota is charged. Raises ApiError where one cannot be applied."""
    obj, old, resource = request.obj, request.old, request.resource
    assert obj is not None
    kind = rules.qualified(resource.group, resource.name)
    measure = rules.measure_of(kind)
    concerned: list[tuple[Object, list[str]]] = []
    for quota in quotas:
        status, name = quota.get("status") or {}, quota["metadata"]["name"]
        limited = sorted(filter(measure.named, status.get("hard") or ()))
        if not limited or not rules.covers(quota, measure, obj):
            continue
        if kind == "pods" and (unsaid := rules.unsaid(obj["spec"], limited)):
            raise refuse(request, f"failed quota: {name}: must specify {unsaid}")
        if not set(limited) <= set(status.get("used") or ()):
            raise refuse(request, f"status unknown for quota: {name}, resources: {','.join(limited)}")
        concerned.append((quota, limited))
    if not concerned:
        return
    usage = measure.usage(obj)
    if negative := sorted(name for name, value in usage.items() if value < ZERO):
        raise refuse(request, f"quota usage is negative for resource(s): {','.join(negative)}")
    before = measure.usage(old) if old is not None else {}
    for quota, limited in concerned:
        paid = before if old is not None and rules.covers(quota, measure, old) else {}
        amounts = {name: usage[name] - paid.get(name, ZERO) for name in limited if name in usage}
        if amounts := {name: value for name, value in amounts.items() if value > ZERO}:
            yield _Due(quota, amounts)
