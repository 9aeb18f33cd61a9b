"""Who may look into devices that others use: only claims in namespaces that are labelled for it (KEP-5018)."""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden

_LABEL = "resource.kubernetes.io/admin-access"


def asked(namespace: Object, spec: Object) -> list[FieldError]:
    """Of a claim's spec, or a template's; upstream names the field without ``exactly``, and for both alike."""
    requests = (request.get("exactly") or {} for request in (spec.get("devices") or {}).get("requests") or ())
    return _first(namespace, "spec.devices.requests", requests)


def granted(namespace: Object, status: Object, before: Object) -> list[FieldError]:
    """Of a claim's status; what was granted once stays so."""
    if any(result.get("adminAccess") for result in _results(before)):
        return []
    return _first(namespace, "status.allocation.devices.results", _results(status))


def _results(status: Object) -> list[Object]:
    return ((status.get("allocation") or {}).get("devices") or {}).get("results") or []


def _first(namespace: Object, at: str, found: Iterable[Object]) -> list[FieldError]:
    if (namespace["metadata"].get("labels") or {}).get(_LABEL) == "true":
        return []
    text = f"admin access to devices requires the `{_LABEL}: true` label on the containing namespace"
    places = (index for index, each in enumerate(found) if each.get("adminAccess"))
    return [forbidden(f"{at}[{index}].adminAccess", text) for index in places][:1]
