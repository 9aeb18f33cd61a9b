"""Probes and lifecycle handlers: what is run, asked or connected to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, named, not_negative, required, unsupported

_SECONDS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def port(at: str, value: Any) -> list[FieldError]:
    """A port by number or by the name a container gives it."""
    if isinstance(value, str):
        return named(at, value, names.port_name)
    return [invalid(at, value or 0, text) for text in names.port_number(value or 0)]


def _exec(at: str, action: Object, grace: int) -> list[FieldError]:
    return [] if action.get("command") else [required(f"{at}.command")]


def _http_get(at: str, action: Object, grace: int) -> list[FieldError]:
    causes = [] if action.get("path") else [required(f"{at}.path")]
    causes += port(f"{at}.port", action.get("port"))
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        causes.append(unsupported(f"{at}.scheme", action.get("scheme") or "", ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        causes += named(f"{at}.httpHeaders", header.get("name") or "", names.http_header_name)
    return causes


def _tcp_socket(at: str, action: Object, grace: int) -> list[FieldError]:
    return port(f"{at}.port", action.get("port"))


def _sleep(at: str, action: Object, grace: int) -> list[FieldError]:
    seconds = action.get("seconds") or 0
    if seconds < 0 or seconds > grace:
        text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        return [invalid(at, seconds, text)]
    return []


_HANDLERS: dict[str, Callable[[str, Object, int], list[FieldError]]] = {
    "exec": _exec,
    "httpGet": _http_get,
    "tcpSocket": _tcp_socket,
    "grpc": _tcp_socket,
    "sleep": _sleep,
}


def handler(at: str, action: Object, grace: int) -> list[FieldError]:
    """Exactly one way of acting."""
    causes: list[FieldError] = []
    found = False
    for name, validate in _HANDLERS.items():
        if action.get(name) is None:
            continue
        if found:
            causes.append(forbidden(f"{at}.{name}", "may not specify more than 1 handler type"))
        else:
            found = True
            causes += validate(f"{at}.{name}", action[name], grace)
    return causes if found else [required(at, "must specify a handler type")]


def lifecycle(at: str, hooks: Object, grace: int) -> list[FieldError]:
    causes: list[FieldError] = []
    for hook in ("postStart", "preStop"):
        if hooks.get(hook) is not None:
            causes += handler(f"{at}.{hook}", hooks[hook], grace)
    return causes


def probes(at: str, container: Object, grace: int) -> list[FieldError]:
    """All three probes of a container."""
    causes: list[FieldError] = []
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            continue
        here = f"{at}.{kind}"
        causes += handler(here, probe, grace)
        for field in _SECONDS:
            causes += not_negative(f"{here}.{field}", probe.get(field))
        own_grace = probe.get("terminationGracePeriodSeconds")
        if own_grace is not None and own_grace <= 0:
            causes.append(invalid(f"{here}.terminationGracePeriodSeconds", own_grace, "must be greater than 0"))
        if kind == "readinessProbe":
            if own_grace is not None:
                text = "must not be set for readinessProbes"
                causes.append(invalid(f"{here}.terminationGracePeriodSeconds", own_grace, text))
        elif probe.get("successThreshold", 1) != 1:
            causes.append(invalid(f"{here}.successThreshold", probe["successThreshold"], "must be 1"))
    return causes
