"""How may a CustomResourceDefinition say that its versions are converted?"""

from __future__ import annotations

import base64

from cryptography import x509

from shim.api import conditions
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, one_of, required
from shim.resources.webhook_rules import client_config, review_versions

_AT, _CLIENT = "spec.conversion", "spec.conversion.webhookClientConfig"


def check_conversion(conversion: Object | None) -> list[FieldError]:
    """Upstream tells of a webhook under the name of its internal form."""
    if conversion is None:
        return []
    strategy = conversion.get("strategy") or ""
    causes = [required(f"{_AT}.strategy")] if not strategy else one_of(f"{_AT}.strategy", strategy, ("None", "Webhook"))
    webhook = conversion.get("webhook") or {}
    client, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        text = "should not be set when strategy is not set to Webhook"
        causes += [forbidden(_CLIENT, text)] if client is not None else []
        return causes + ([forbidden(f"{_AT}.conversionReviewVersions", text)] if reviews else [])
    if client is None:
        causes.append(required(_CLIENT, "required when strategy is set to Webhook"))
    else:
        causes += client_config(_CLIENT, client)
    return causes + review_versions(f"{_AT}.conversionReviewVersions", reviews)


def check_ca_bundle(spec: Object, old: Object | None) -> list[FieldError]:
    """A definition that is served already cannot lose a bundle that can be read to one that cannot."""
    if old is None or not conditions.is_true(old, "Established"):
        return []
    bundle, before = _bundle(spec), _bundle(old["spec"])
    if not bundle or _is_readable(bundle) or (before and not _is_readable(before)):
        return []
    why = "unable to load root certificates: unable to parse bytes as PEM block"
    return [invalid(f"{_CLIENT}.caBundle", bundle, why)]


def _bundle(spec: Object) -> str:
    webhook = (spec.get("conversion") or {}).get("webhook") or {}
    return (webhook.get("clientConfig") or {}).get("caBundle") or ""


def _is_readable(bundle: str) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(base64.b64decode(bundle)))
    except ValueError:
        return False
