"""Webhook configurations, ready to be matched: read once per configuration and revision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shim.admission.conditions import Condition, conditions_of
from shim.api import selectors
from shim.api.meta import Object
from shim.api.selectors import Selector


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of a configuration."""

    name: str
    configuration: str
    uid: str
    """Tells it from every other one; a name may stand twice in an old configuration."""
    rules: tuple[Object, ...]
    namespaces: Selector
    objects: Selector
    conditions: tuple[Condition, ...]
    equivalent: bool
    may_fail: bool
    """Whether a request goes on when the webhook cannot be asked (``failurePolicy: Ignore``)."""
    may_run_again: bool
    side_effects: str
    timeout: int
    client: Object
    versions: tuple[str, ...]


class Hooks:
    """The webhooks of all configurations, in the order of their names."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[str, list[Hook]]] = {}

    def of(self, configurations: Iterable[Object]) -> list[Hook]:
        """Every webhook of these configurations; what is known of others is forgotten."""
        kept: dict[str, tuple[str, list[Hook]]] = {}
        for configuration in sorted(configurations, key=lambda each: each["metadata"]["name"]):
            metadata = configuration["metadata"]
            uid, revision = metadata.get("uid", ""), metadata.get("resourceVersion", "")
            known = self._read.get(uid)
            kept[uid] = known if known and known[0] == revision else (revision, read(configuration))
        self._read = kept
        return [hook for _, hooks in kept.values() for hook in hooks]


def read(configuration: Object) -> list[Hook]:
    """The webhooks of one configuration."""
    owner = configuration["metadata"]["name"]
    counts: dict[str, int] = {}
    hooks = []
    for hook in configuration.get("webhooks") or ():
        name = hook["name"]
        number = counts[name] = counts.get(name, -1) + 1
        hooks.append(
            Hook(
                name,
                owner,
                f"{owner}/{name}/{number}",
                tuple(hook.get("rules") or ()),
                selectors.from_object(hook.get("namespaceSelector") or {}),
                selectors.from_object(hook.get("objectSelector") or {}),
                conditions_of(hook),
                hook.get("matchPolicy", "Equivalent") == "Equivalent",
                hook.get("failurePolicy", "Fail") == "Ignore",
                hook.get("reinvocationPolicy") == "IfNeeded",
                hook.get("sideEffects") or "",
                hook.get("timeoutSeconds") or 10,
                hook.get("clientConfig") or {},
                tuple(hook.get("admissionReviewVersions") or ()),
            )
        )
    return hooks
