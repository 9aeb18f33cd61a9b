"""How do clients and nodes get certificates? Requests that were approved are signed, and all are cleaned away.

People approve, and :mod:`shim.controllers.csr_approval` what nodes ask for themselves. The signing CA is the
cluster's own. What is done with, or was never answered, is deleted after a while.
"""

from __future__ import annotations

import base64
import datetime
import logging

from cryptography import x509

from shim.api.certificates import parse_request
from shim.api.conditions import find
from shim.api.meta import Object, now, parse_time
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.csr_signing import SIGNERS, Authority, sign
from shim.controllers.loop import Context, Controller

log = logging.getLogger(__name__)

DONE_AFTER = datetime.timedelta(hours=1)
UNANSWERED_AFTER = datetime.timedelta(hours=24)


class RequestController(Controller):
    """Follows CertificateSigningRequests."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.requests = ctx.informer(r.CERTIFICATESIGNINGREQUESTS)
        self.requests.on_change(self.request_changed)

    def request_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(new["metadata"]["name"])


class CsrSigner(RequestController):
    """Signs what was approved, for the four signers of the cluster; a request its signer cannot take has failed."""

    name = "csrsigning"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        certificate, key = ctx.settings.cluster_signing_cert_file, ctx.settings.cluster_signing_key_file
        self.authority = Authority.read(certificate.read_bytes(), key.read_bytes()) if certificate and key else None

    async def reconcile(self, key: str) -> None:
        request = self.requests.get(key)
        if request is None or self.authority is None or is_signed(request):
            return
        spec, status = request["spec"], request.get("status") or {}
        check = SIGNERS.get(spec["signerName"])
        if check is None or not _has(request, "Approved") or _has(request, "Failed"):
            return
        parsed = parse_request(spec["request"])
        if why := check(parsed, spec["usages"]):
            failed = {"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why}
            status = {**status, "conditions": [*(status.get("conditions") or ()), {**failed, "lastUpdateTime": now()}]}
        else:
            present = datetime.datetime.now(datetime.UTC)
            certificate = sign(self.authority, parsed, spec["usages"], spec.get("expirationSeconds"), present)
            status = {**status, "certificate": base64.b64encode(certificate).decode()}
        signed = {**request, "status": status}
        await self.ctx.client.update(r.CERTIFICATESIGNINGREQUESTS, signed, subresource="status")


class CsrCleaner(RequestController):
    """Deletes requests that are done with, and those nobody answered."""

    name = "csrcleaner"

    async def reconcile(self, key: str) -> None:
        request = self.requests.get(key)
        if request is None:
            return
        left = seconds_to_live(request, datetime.datetime.now(datetime.UTC))
        if left > 0:
            self.queue.add_after(key, left)
            return
        try:
            await self.ctx.client.delete(r.CERTIFICATESIGNINGREQUESTS, key, uid=request["metadata"]["uid"])
        except ApiError as error:
            if error.code != 404:
                raise


def is_signed(request: Object) -> bool:
    return bool((request.get("status") or {}).get("certificate"))


def _has(request: Object, condition: str) -> bool:
    return (find(request, condition) or {}).get("status") == "True"


def seconds_to_live(request: Object, present: datetime.datetime) -> float:
    """How long a request is kept from now on: zero or less when it is time."""
    signed = is_signed(request)
    ends: list[datetime.datetime] = []
    conditions = (request.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if not (written := condition.get("lastUpdateTime")):
            continue
        if condition["type"] in ("Denied", "Failed") or (condition["type"] == "Approved" and signed):
            ends.append(parse_time(written) + DONE_AFTER)
        elif condition["type"] == "Approved":
            ends.append(parse_time(written) + UNANSWERED_AFTER)
    if not conditions:
        ends.append(parse_time(request["metadata"]["creationTimestamp"]) + UNANSWERED_AFTER)
    if signed and find(request, "Approved"):
        try:
            issued = x509.load_pem_x509_certificate(base64.b64decode(request["status"]["certificate"]))
            ends.append(issued.not_valid_after_utc)
        except ValueError:
            log.warning("certificate of %s cannot be read", request["metadata"]["name"])
    return min((end - present).total_seconds() for end in ends) if ends else UNANSWERED_AFTER.total_seconds()
