"""How may a CustomResourceDefinition say that its versions are converted?"""

from __future__ import annotations

import re

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, one_of, required

_REVIEWS = ("v1", "v1beta1")


def check_conversion(conversion: Object | None) -> list[FieldError]:
    """Upstream tells of a webhook under the name of its internal form."""
    if conversion is None:
        return []
    path, at = "spec.conversion", "spec.conversion.webhookClientConfig"
    strategy = conversion.get("strategy") or ""
    causes = (
        [required(f"{path}.strategy")] if not strategy else one_of(f"{path}.strategy", strategy, ("None", "Webhook"))
    )
    webhook = conversion.get("webhook") or {}
    client, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        text = "should not be set when strategy is not set to Webhook"
        causes += [forbidden(at, text)] if client else []
        return causes + ([forbidden(f"{path}.conversionReviewVersions", text)] if reviews else [])
    if client is None:
        causes.append(required(at, "required when strategy is set to Webhook"))
    elif bool(client.get("url")) == bool(client.get("service")):
        causes.append(required(at, "exactly one of url or service is required"))
    elif service := client.get("service"):
        causes += [required(f"{at}.service.{name}") for name in ("name", "namespace") if not service.get(name)]
        if not 1 <= (service.get("port") or 443) <= 65535:
            text = "port is not valid: must be between 1 and 65535, inclusive"
            causes.append(invalid(f"{at}.service.port", service["port"], text))
    elif not client["url"].startswith("https://"):
        text = "'https' is the only allowed URL scheme; desired format: https://host[/path]"
        causes.append(invalid(f"{at}.url", re.match(r"[^:]*", client["url"])[0], text))  # type: ignore[index]
    if not reviews:
        causes.append(required(f"{path}.conversionReviewVersions"))
    elif not set(reviews) & set(_REVIEWS):
        text = f"must include at least one of {', '.join(_REVIEWS)}"
        causes.append(invalid(f"{path}.conversionReviewVersions", reviews, text))
    return causes
