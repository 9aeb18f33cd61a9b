"""The library ``authorizer``: expressions ask what the user of a request may do.

The environment's owner gives a function that judges (:class:`Judge`); it must not wait, for expressions run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from shim.api import names, selectors
from shim.cel.functions import Library, math_ceil
from shim.cel.types import Type
from shim.cel.values import CelError, Opaque

LIBRARY = Library()
_add = LIBRARY.add
AUTHORIZER = Type("kubernetes.authorization.Authorizer")
RESOURCE_CHECK = Type("kubernetes.authorization.ResourceCheck")
_PREFIX = "kubernetes.authorization."


@dataclass(frozen=True)
class Attributes:
    """What is asked. ``path`` is set for questions outside the API."""

    verb: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    service_account: tuple[str, str] | None = None
    """(namespace, name) of the account to ask for instead of the request's user."""
    field_selector: str = ""
    label_selector: str = ""


@dataclass(frozen=True)
class Decision(Opaque):
    TYPE = f"{_PREFIX}Decision"
    allowed: bool
    reason: str = ""
    error: str = ""


Judge = Callable[[Attributes], Decision]


@dataclass(frozen=True)
class Authorizer(Opaque):
    """The value of the variable ``authorizer``."""

    TYPE = f"{_PREFIX}Authorizer"
    judge: Judge
    asked: Attributes = Attributes()

    def resource_check(self, group: str, resource: str, subresource: str, namespace: str, name: str) -> ResourceCheck:
        """The value of ``authorizer.requestResource``."""
        return ResourceCheck(
            self.judge,
            replace(
                self.asked, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name
            ),
        )


@dataclass(frozen=True)
class PathCheck(Authorizer):
    TYPE = f"{_PREFIX}PathCheck"


@dataclass(frozen=True)
class GroupCheck(Authorizer):
    TYPE = f"{_PREFIX}GroupCheck"


@dataclass(frozen=True)
class ResourceCheck(Authorizer):
    TYPE = f"{_PREFIX}ResourceCheck"


def _path(authorizer: Authorizer, path: str) -> PathCheck:
    if not path:
        raise CelError("path must not be empty")
    return PathCheck(authorizer.judge, replace(authorizer.asked, path=path))


def _service_account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    if names.dns1123_subdomain(name):
        raise CelError("Invalid service account name")
    if names.dns1123_label(namespace):
        raise CelError("Invalid service account namespace")
    return Authorizer(authorizer.judge, replace(authorizer.asked, service_account=(namespace, name)))


def _resource(check: GroupCheck, resource: str) -> ResourceCheck:
    if not resource:
        raise CelError("resource must not be empty")
    return ResourceCheck(check.judge, replace(check.asked, resource=resource))


def _narrow(field: str) -> Callable[[Authorizer, str], ResourceCheck]:
    return lambda check, value: ResourceCheck(check.judge, replace(check.asked, **dict[str, Any](((field, value),))))


def _check(check: Authorizer, verb: str) -> Decision:
    asked = replace(check.asked, verb=verb)
    try:
        selectors.parse_fields(asked.field_selector)
        selectors.parse(asked.label_selector)
    except selectors.SelectorError as error:
        return Decision(False, error=str(error))
    return check.judge(asked)


def _fixed(sizes: Any, result: float) -> float:
    return 350_000  # two checks an expression


def _selector(sizes: Any, result: float) -> float:
    return 10 + math_ceil(sizes[1] * 0.1) + math_ceil(math_ceil(sizes[1] * 0.5) * 50)


_A, _P, _G, _R, _D = (
    f"{_PREFIX}{name}" for name in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
)
_add("path", f"{_A}, string -> {_P}", _path, member=True)
_add("group", f"{_A}, string -> {_G}", lambda a, group: GroupCheck(a.judge, replace(a.asked, group=group)), member=True)
_add("serviceAccount", f"{_A}, string, string -> {_A}", _service_account, member=True)
_add("resource", f"{_G}, string -> {_R}", _resource, member=True)
_add("subresource", f"{_R}, string -> {_R}", _narrow("subresource"), member=True)
_add("namespace", f"{_R}, string -> {_R}", _narrow("namespace"), member=True)
_add("name", f"{_R}, string -> {_R}", _narrow("name"), member=True)
_add("fieldSelector", f"{_R}, string -> {_R}", _narrow("field_selector"), member=True, cost=_selector)
_add("labelSelector", f"{_R}, string -> {_R}", _narrow("label_selector"), member=True, cost=_selector)
_add("check", f"{_P}, string -> {_D}", _check, member=True, cost=_fixed)
_add("check", f"{_R}, string -> {_D}", _check, member=True, cost=_fixed)
_add("errored", f"{_D} -> bool", lambda decision: bool(decision.error), member=True)
_add("error", f"{_D} -> string", lambda decision: decision.error, member=True)
_add("allowed", f"{_D} -> bool", lambda decision: decision.allowed, member=True)
_add("reason", f"{_D} -> string", lambda decision: decision.reason, member=True)
