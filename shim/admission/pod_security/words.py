"""How a check reads a pod, and how it words what it finds: the words are upstream's. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from shim.api.meta import Object


class Refusal(NamedTuple):
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Annotations = Mapping[str, str]
Check = Callable[[Annotations, Object], Refusal | None]


def quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def plural(word: str, items: Collection[object]) -> str:
    return word if len(items) == 1 else f"{word}s"


def named(names: Collection[str]) -> str:
    return f"{plural('container', names)} {quoted(names)}"


def containers(spec: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def security(holder: Object) -> Object:
    found: Object = holder.get("securityContext") or {}
    return found


def names_of(spec: Object, is_bad: Callable[[Object], object]) -> list[str]:
    return [each.get("name", "") for each in containers(spec) if is_bad(each)]


def setters(spec: Object, is_bad: Callable[[Object], object]) -> str:
    """Who sets something bad in its securityContext: ``pod and container "a"``; "" when nobody does."""
    who = ["pod"] if is_bad(security(spec)) else []
    if names := names_of(spec, lambda container: is_bad(security(container))):
        who.append(named(names))
    return " and ".join(who)


def on_linux(check: Check) -> Check:
    """Windows has nothing of the kind."""
    return lambda annotations, spec: (
        None if (spec.get("os") or {}).get("name") == "windows" else check(annotations, spec)
    )


def with_host_users(check: Check) -> Check:
    """A pod in a user namespace of its own may have what is harmless there."""
    return lambda annotations, spec: None if spec.get("hostUsers") is False else check(annotations, spec)
