"""Which subresources exist: what kind each speaks, and which verbs it takes, as discovery tells them."""

from __future__ import annotations

from typing import NamedTuple

from shim.resources.strategy import Resource

_READ_WRITE = ("get", "patch", "update")
_PROXY = ("create", "delete", "get", "patch", "update")


class Subresource(NamedTuple):
    """One subresource of one resource: ``pods/eviction`` takes an ``Eviction`` of ``policy/v1``.

    ``group`` and ``version`` are empty where the kind belongs to the parent's own group and version.
    """

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


_OWN_KIND = {
    "approval": _READ_WRITE,
    "ephemeralcontainers": _READ_WRITE,
    "finalize": ("update",),
    "log": ("get",),
    "resize": _READ_WRITE,
    "status": _READ_WRITE,
}

_OTHER_KIND = {
    "scale": Subresource("scale", "Scale", _READ_WRITE, "autoscaling", "v1"),
    "attach": Subresource("attach", "PodAttachOptions", ("create", "get")),
    "binding": Subresource("binding", "Binding", ("create",)),
    "eviction": Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
    "exec": Subresource("exec", "PodExecOptions", ("create", "get")),
    "portforward": Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
    "token": Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),
}


def describe(resource: Resource, name: str) -> Subresource:
    """The facts of ``resource/name``; KeyError for a name no kind has."""
    if name in _OWN_KIND:
        return Subresource(name, resource.kind, _OWN_KIND[name])
    if name == "proxy":
        return Subresource(name, f"{resource.kind}ProxyOptions", _PROXY)
    return _OTHER_KIND[name]
