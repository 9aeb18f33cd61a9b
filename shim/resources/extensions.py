"""Webhook configurations: defaults, and what must hold of them."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import webhook_rules
from shim.resources.strategy import Strategy


def _fill(obj: Object, **values: Any) -> None:
    for field, value in values.items():
        if obj.get(field) is None:
            obj[field] = value


class WebhookStrategy(Strategy):
    any_finalizer = True
    allow_unconditional_update = False

    def __init__(self, mutating: bool) -> None:
        self.mutating = mutating

    def default(self, obj: Object) -> None:
        for hook in obj.get("webhooks") or ():
            _fill(
                hook,
                failurePolicy="Fail",
                matchPolicy="Equivalent",
                namespaceSelector={},
                objectSelector={},
                timeoutSeconds=10,
            )
            if self.mutating:
                _fill(hook, reinvocationPolicy="Never")
            for rule in hook.get("rules") or ():
                _fill(rule, scope="*")
            service = (hook.get("clientConfig") or {}).get("service")
            if service:
                _fill(service, port=443)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return webhook_rules.webhooks(obj, None, mutating=self.mutating)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        rules = webhook_rules.webhooks(new, old, mutating=self.mutating)
        return [*self.validate_metadata(new), *rules]
