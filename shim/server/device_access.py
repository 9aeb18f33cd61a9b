"""Who may write which part of a claim's status? Its allocation is the scheduler's, its devices are their drivers' own.

KEP-4817 and its like: rights on ``resourceclaims/binding`` in the whole cluster, and on ``resourceclaims/driver`` by
the name of the driver, where a driver's pod may have them for claims of its own node alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden
from shim.server import authz
from shim.server.parts import Call
from shim.server.registry import Validate
from shim.server.routes import RequestInfo
from shim.server.users import User, split_account

STATUS = ("resource.k8s.io", "resourceclaims", "status")
_NODE = "authentication.kubernetes.io/node-name"
_DEVICE = ("driver", "pool", "device", "shareID")


def guarded(call: Call, validate: Validate) -> Validate:
    """The rules of a claim's status, and these before them."""
    return lambda new, old: [*check(call, new.get("status") or {}, old.get("status") or {}), *validate(new, old)]


def check(call: Call, status: Object, before: Object) -> list[FieldError]:
    """What of a change of status the user has no right to."""
    causes, verb = [], call.info.verb
    bound = any((status.get(field) or None) != (before.get(field) or None) for field in ("allocation", "reservedFor"))
    if bound and (why := _refusal(call, verb, "binding")):
        text = f'requires resource="resourceclaims/binding", verb="{verb}" permission: {why}'
        causes.append(forbidden("status.allocation", f"changing status.allocation or status.reservedFor {text}"))
    if status.get("allocation") is None:
        return causes  # what was said of its devices goes with it
    near = _is_on(call.user, _node_of(status["allocation"]))
    verbs = [f"{place}-node:{verb}" for place in (("associated", "arbitrary") if near else ("arbitrary",))]
    for driver in sorted(set(_touched(status, before))):
        whys = [_refusal(call, each, "driver", call.info.namespace, driver) for each in verbs]
        if all(whys):
            text = f'requires resource="resourceclaims/driver", verb="[{" ".join(verbs)}]" permission: {whys[0]}'
            causes.append(forbidden("status.devices", f"changing status.devices {text}"))
    return causes


def _refusal(call: Call, verb: str, subresource: str, namespace: str = "", name: str = "") -> str:
    """Why the user may not; "" when they may."""
    resource = call.resource
    asked = RequestInfo(verb, "", resource.group, resource.version, namespace, resource.name, name, subresource)
    decision = call.parts.authorizer.decide(call.user, asked)
    return "" if decision.allowed else authz.forbidden(call.user, asked, decision.why).message


def _touched(status: Object, before: Object) -> Iterator[str]:
    """The drivers of devices that came, went or changed."""
    known = {_device(each): each for each in before.get("devices") or ()}
    for each in status.get("devices") or ():
        if known.pop(_device(each), None) != each:
            yield each.get("driver") or ""
    yield from (each.get("driver") or "" for each in known.values())


def _device(device: Object) -> tuple[str, ...]:
    return tuple(device.get(field) or "" for field in _DEVICE)


def _node_of(allocation: Object) -> str:
    """The one node that an allocation is for; "" where it is for more."""
    terms = (allocation.get("nodeSelector") or {}).get("nodeSelectorTerms") or []
    if len(terms) != 1 or terms[0].get("matchExpressions") or len(terms[0].get("matchFields") or []) != 1:
        return ""
    field = terms[0]["matchFields"][0]
    values = field.get("values") or []
    named = (field.get("key"), field.get("operator"), len(values)) == ("metadata.name", "In", 1)
    return str(values[0]) if named else ""


def _is_on(user: User, node: str) -> bool:
    """Whether a user is the account of a pod on this node."""
    return bool(node) and split_account(user.name) is not None and user.extra.get(_NODE) == (node,)
