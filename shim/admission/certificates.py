"""Who may approve and sign certificates, and which certificates nobody gets.

A right to approve or to sign is a right on the virtual resource ``signers``, by the signer's name or its domain's
(``example.com/*``); see "Authorization" in the documentation of CertificateSigningRequests.
"""

from __future__ import annotations

from cryptography.x509.oid import NameOID

from shim.admission.request import CREATE, UPDATE, Plugin, Reader, Request, refuse
from shim.api.certificates import KUBE_CLIENT, parse_request
from shim.api.meta import GVR, Object

GROUP = "certificates.k8s.io"
REQUESTS = "certificatesigningrequests"
SIGNERS = GVR(GROUP, "*", "signers", namespaced=False)
MASTERS = "system:masters"


class CertificateApproval(Plugin):
    """Approving needs the right to approve for the signer that the request was made to."""

    resources = ((GROUP, REQUESTS),)

    async def validate(self, request: Request, reader: Reader) -> None:
        if request.is_for(REQUESTS, UPDATE, group=GROUP, subresource="approval"):
            _must_be_allowed(request, reader, "approve")


class CertificateSigning(Plugin):
    """Setting a certificate or a condition needs the right to sign for the signer."""

    resources = ((GROUP, REQUESTS),)

    async def validate(self, request: Request, reader: Reader) -> None:
        if not request.is_for(REQUESTS, UPDATE, group=GROUP, subresource="status"):
            return
        new, old = ((each or {}).get("status") or {} for each in (request.obj, request.old))
        if any((new.get(field) or None) != (old.get(field) or None) for field in ("certificate", "conditions")):
            _must_be_allowed(request, reader, "sign")


class CertificateSubjectRestriction(Plugin):
    """Nobody becomes a master of the cluster by asking for a certificate."""

    resources = ((GROUP, REQUESTS),)

    async def validate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for(REQUESTS, CREATE, group=GROUP):
            return
        spec = request.obj["spec"]
        if spec.get("signerName") == KUBE_CLIENT and MASTERS in _organizations(request, spec):
            raise refuse(request, f"use of {KUBE_CLIENT} signer with {MASTERS} group is not allowed")


def _must_be_allowed(request: Request, reader: Reader, verb: str) -> None:
    """By the stored object: nobody changes the signer in passing."""
    stored: Object = request.old or {}
    signer: str = (stored.get("spec") or {}).get("signerName") or ""
    domain = signer.partition("/")[0]
    if not any(reader.may(request.user, verb, SIGNERS, name) for name in (signer, f"{domain}/*")):
        raise refuse(request, f'user not permitted to {verb} requests with signerName "{signer}"')


def _organizations(request: Request, spec: Object) -> list[object]:
    try:
        parsed = parse_request(spec.get("request") or "")
        return [each.value for each in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    except ValueError as error:
        raise refuse(request, f"failed to parse CSR: {error}") from None
