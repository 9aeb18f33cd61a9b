"""Who may ask for which certificate, approve and sign it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shim.admission.tests.cluster import (
    Cluster,
    admitted,
    create,
    refusal,
    update,
)
from shim.api.meta import Object


def signing_request(signer: str, *organizations: str) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    pem = base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()
    return {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": pem}}


async def test_nobody_asks_to_be_a_master() -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    where: Any = {"group": "certificates.k8s.io", "namespace": None}
    asked = create("certificatesigningrequests", signing_request(signer, "devs", "system:masters"), **where)
    error = await refusal(Cluster(), asked)
    assert error.message == (
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: '
        f"use of {signer} signer with system:masters group is not allowed"
    )
    await admitted(Cluster(), create("certificatesigningrequests", signing_request(signer, "devs"), **where))
    other = signing_request("example.com/own", "system:masters")
    await admitted(Cluster(), create("certificatesigningrequests", other, **where))


@pytest.mark.parametrize(("subresource", "verb"), [("approval", "approve"), ("status", "sign")])
@pytest.mark.parametrize("name", ["example.com/own", "example.com/*", ""])
async def test_approving_and_signing_is_a_right_on_the_signer(subresource: str, verb: str, name: str) -> None:
    old: Object = {"metadata": {"name": "r"}, "spec": {"signerName": "example.com/own"}, "status": {}}
    new = {**old, "spec": {"signerName": "example.com/other"}, "status": {"certificate": "eA=="}}
    asked = update(
        "certificatesigningrequests",
        new,
        old,
        group="certificates.k8s.io",
        namespace=None,
        subresource=subresource,
    )
    cluster = Cluster(rights=[(verb, "signers", name)] if name else ())
    if name:
        await admitted(cluster, asked)
        return
    error = await refusal(cluster, asked)
    assert error.message.endswith(f'user not permitted to {verb} requests with signerName "example.com/own"')
