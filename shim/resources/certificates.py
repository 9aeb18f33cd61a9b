"""CertificateSigningRequests: what is asked stays as it was asked, who approves and who signs write different parts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from shim.api import names
from shim.api.certificates import LEGACY, parse_request, pem_blocks
from shim.api.meta import Object, now
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.causes import duplicate, forbidden, invalid, required, too_long, unsupported
from shim.resources.strategy import Strategy

SHORTEST = 600  # seconds; the signers date a certificate back by half of it
USAGES = tuple(
    sorted(
        (
            "signing",
            "digital signature",
            "content commitment",
            "key encipherment",
            "key agreement",
            "data encipherment",
            "cert sign",
            "crl sign",
            "encipher only",
            "decipher only",
            "any",
            "server auth",
            "client auth",
            "code signing",
            "email protection",
            "s/mime",
            "ipsec end system",
            "ipsec tunnel",
            "ipsec user",
            "timestamping",
            "ocsp signing",
            "microsoft sgc",
            "netscape sgc",
        )
    )
)
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
_FINAL = (APPROVED, DENIED, FAILED)
_DECISIONS = (APPROVED, DENIED)
_NOT_WRITTEN = {"": "status", "status": "status.conditions", "approval": "status.certificate"}


class CertificateRequestStrategy(Strategy):
    """The request as a whole: its spec is written once, with who asked; its status never."""

    counts_generation = False
    has_status = True
    records_creator = True
    name_rule = staticmethod(metadata.path_segment)

    def resets(self, subresource: str) -> tuple[str, ...]:
        return "spec", _NOT_WRITTEN[subresource]

    def record_creator(self, obj: Object, user: Object) -> None:
        spec = obj.setdefault("spec", {})
        for name in ("username", "uid", "groups", "extra"):
            spec.pop(name, None)
            if user.get(name):
                spec[name] = user[name]

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["spec"] = old["spec"]

    def validate_body(self, obj: Object) -> list[FieldError]:
        return _request(obj["spec"], {}) + _conditions(obj, {})

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return _update(new, old)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        for kind in _DECISIONS:
            _keep_instances(new, old, kind)
        _set_times(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return _update(new, old, may_sign=True)

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"spec.signerName": (obj.get("spec") or {}).get("signerName") or ""}

    def side(self, subresource: str) -> Strategy:
        return _APPROVAL if subresource == "approval" else self


class Approval(CertificateRequestStrategy):
    """The subresource that approves or denies, by conditions alone."""

    def prepare_for_update(self, new: Object, old: Object) -> None:
        _set_times(new, old)
        conditions = _conditions_of(new)
        new["spec"] = old["spec"]
        new["status"] = {**(old.get("status") or {}), "conditions": conditions}
        if not conditions:
            del new["status"]["conditions"]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return _update(new, old, may_approve=True)


_APPROVAL = Approval()


def _request(spec: Object, before: Object) -> list[FieldError]:
    """The spec; what an earlier version let through stays accepted."""
    causes = []
    try:
        if not parse_request(spec.get("request") or "").is_signature_valid:
            raise InvalidSignature("x509: signature does not match the key")
    except (ValueError, TypeError, InvalidSignature) as error:
        causes.append(invalid("spec.request", spec.get("request"), str(error)))
    usages = spec.get("usages") or []
    if not usages:
        causes.append(required("spec.usages"))
    if before.get("usages") != usages:
        for index, usage in enumerate(usages):
            if usage not in USAGES:
                causes.append(unsupported(f"spec.usages[{index}]", usage, USAGES))
        causes += [
            duplicate(f"spec.usages[{index}]", usage) for index, usage in enumerate(usages) if usage in usages[:index]
        ]
    signer = spec.get("signerName") or ""
    if signer == LEGACY and before.get("signerName") != LEGACY:
        causes.append(invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version"))
    else:
        causes += signer_name("spec.signerName", signer)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < SHORTEST:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        causes.append(invalid("spec.expirationSeconds", seconds, text))
    return causes


def signer_name(at: str, name: str) -> list[FieldError]:
    """``example.com/signer-name``."""
    if not name:
        return [required(at)]
    domain, slash, path = name.partition("/")
    if not slash or "/" in path:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid(at, name, text)]
    causes = [too_long(at, 253)] if len(domain) > 253 else []
    causes += _each_label(at, domain, names.dns1123_label)
    if "." not in domain:
        causes.append(invalid(at, domain, "should be a domain with at least two segments separated by dots"))
    causes += _each_label(at, path, names.dns1123_subdomain)
    if len(name) > 571:
        causes.append(too_long(at, 571))
    return causes


def _each_label(at: str, value: str, rule: metadata.NameRule) -> list[FieldError]:
    for label in value.split("."):
        if texts := rule(label):
            return [invalid(at, value, f'validating label "{label}": {text}') for text in texts]
    return []


def _conditions_of(obj: Object) -> list[Object]:
    return list((obj.get("status") or {}).get("conditions") or ())


def _types(obj: Object) -> list[str]:
    return [each.get("type") or "" for each in _conditions_of(obj)]


def _conditions(obj: Object, old: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    known = _types(old)
    undecided_before = not set(_DECISIONS) <= set(known)
    for index, condition in enumerate(_conditions_of(obj)):
        at, kind, status = f"status.conditions[{index}]", condition.get("type") or "", condition.get("status") or ""
        if not kind and "" not in known:
            causes.append(required(f"{at}.type"))
        allowed = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        if not status:
            causes.append(required(f"{at}.status"))
        elif status not in allowed:
            causes.append(unsupported(f"{at}.status", status, allowed))
        earlier = _types(obj)[:index]
        other = {APPROVED: DENIED, DENIED: APPROVED}.get(kind)
        if other in earlier and undecided_before:
            text = "Approved and Denied conditions are mutually exclusive"
            causes.append(invalid("status.conditions", kind, text))
        if kind in earlier and len(known) == len(set(known)):
            causes.append(duplicate(f"{at}.type", kind))
    return causes


def _update(new: Object, old: Object, *, may_sign: bool = False, may_approve: bool = False) -> list[FieldError]:
    causes = metadata.validate(new, metadata.path_segment)
    causes += _request(new["spec"], old["spec"]) + _conditions(new, old)
    certificate, before = ((each.get("status") or {}).get("certificate") or "" for each in (new, old))
    if certificate and certificate != before and (text := _certificate_complaint(certificate)):
        causes.append(invalid("status.certificate", "<certificate data>", text))
    found, had = _types(new), _types(old)
    for kind in _FINAL:
        if found.count(kind) < had.count(kind):
            text = f'updates may not remove a condition of type "{kind}"'
            causes.append(forbidden("status.conditions", text))
    if not may_approve:
        causes += _decisions_kept(new, old)
    if certificate != before:
        if not may_sign:
            causes.append(forbidden("status.certificate", "updates may not set certificate content"))
        elif before:
            causes.append(forbidden("status.certificate", "updates may not modify existing certificate content"))
    return causes + metadata.validate_update(new, old)


def _decisions_kept(new: Object, old: Object) -> list[FieldError]:
    causes = []
    for kind in _DECISIONS:
        found, had = ([each for each in _conditions_of(obj) if each.get("type") == kind] for obj in (new, old))
        if len(found) > len(had):
            causes.append(forbidden("status.conditions", f'updates may not add a condition of type "{kind}"'))
        elif len(found) == len(had) and found != had:
            causes.append(forbidden("status.conditions", f'updates may not modify a condition of type "{kind}"\n'))
    return causes


def _certificate_complaint(encoded: str) -> str:
    try:
        blocks = pem_blocks(base64.b64decode(encoded, validate=True))
    except binascii.Error as error:
        return str(error)
    for kind, block in blocks:
        if kind != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{kind}"'
        try:
            x509.load_pem_x509_certificate(block)
        except ValueError as error:
            return str(error)
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


def _keep_instances(new: Object, old: Object, kind: str) -> None:
    """The decision is copied from what is stored, unless one is added or removed, which the rules then refuse."""
    places = [index for index, each in enumerate(_conditions_of(new)) if each.get("type") == kind]
    had = [each for each in _conditions_of(old) if each.get("type") == kind]
    if len(places) == len(had):
        for index, condition in zip(places, had, strict=True):
            new["status"]["conditions"][index] = condition


def _set_times(new: Object, old: Object) -> None:
    known: dict[tuple[Any, Any], Any] = {
        (each.get("type"), each.get("status")): each.get("lastTransitionTime") for each in _conditions_of(old)
    }
    for condition in _conditions_of(new):
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now()
        if not condition.get("lastTransitionTime"):
            place = (condition.get("type"), condition.get("status"))
            condition["lastTransitionTime"] = known.get(place) or now()
