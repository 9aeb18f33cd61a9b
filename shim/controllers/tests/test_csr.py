"""Certificates by request: what is approved by itself, what is signed and for how long, and what is thrown away."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.csr import CsrSigner, seconds_to_live
from shim.controllers.csr_approval import CsrApprover
from shim.controllers.csr_signing import SIGNERS, Authority, sign
from shim.controllers.tests.cluster import cluster

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NODE = ("system:node:n1", ["system:nodes"])
CLIENT = ["digital signature", "client auth"]
SERVING = ["digital signature", "key encipherment", "server auth"]


def request(name: str, groups: list[str], *alternatives: x509.GeneralName) -> x509.CertificateSigningRequest:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def encoded(made: x509.CertificateSigningRequest) -> str:
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


DNS, MAIL = x509.DNSName("n1"), x509.RFC822Name("a@b.c")
CASES = [
    ("kube-apiserver-client", request("alice", []), CLIENT, ""),
    ("kube-apiserver-client", request("alice", []), ["any"], "invalid usage for client certificate: any"),
    ("kube-apiserver-client", request("a", []), [], "missing required usage for client certificate: client auth"),
    ("kube-apiserver-client-kubelet", request(*NODE), CLIENT, ""),
    (
        "kube-apiserver-client-kubelet",
        request("n1", NODE[1]),
        CLIENT,
        "subject common name does not begin with system:node:",
    ),
    ("kube-apiserver-client-kubelet", request(NODE[0], []), CLIENT, "subject organization is not system:nodes"),
    ("kube-apiserver-client-kubelet", request(*NODE, DNS), CLIENT, "DNS subjectAltNames are not allowed"),
    (
        "kube-apiserver-client-kubelet",
        request(*NODE),
        SERVING,
        "usages did not match [client auth digital signature key encipherment]",
    ),
    ("kubelet-serving", request(*NODE, DNS), SERVING, ""),
    ("kubelet-serving", request(*NODE), SERVING, "DNS or IP subjectAltName is required"),
    ("kubelet-serving", request(*NODE, DNS, MAIL), SERVING, "Email subjectAltNames are not allowed"),
    ("legacy-unknown", request("anything", []), ["any"], ""),
]


@pytest.mark.parametrize(("signer", "made", "usages", "complaint"), CASES)
def test_each_signer_takes_some_requests_only(
    signer: str, made: x509.CertificateSigningRequest, usages: list[str], complaint: str
) -> None:
    assert SIGNERS[f"kubernetes.io/{signer}"](made, usages) == complaint


@pytest.fixture(scope="module")
def authority() -> Authority:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=100))
        .sign(KEY, hashes.SHA256())
    )
    return Authority(made, KEY)


@pytest.mark.parametrize(
    ("seconds", "lifetime"),
    [
        (None, datetime.timedelta(days=100)),  # as long as the CA
        (3600, datetime.timedelta(hours=1)),
        (60, datetime.timedelta(minutes=10)),
        (86400, datetime.timedelta(days=1) - datetime.timedelta(minutes=5)),
    ],
)
def test_a_certificate_lives_as_long_as_asked_within_limits(
    authority: Authority, seconds: int | None, lifetime: datetime.timedelta
) -> None:
    made = x509.load_pem_x509_certificate(sign(authority, request("a", []), CLIENT, seconds, NOW))
    assert made.not_valid_after_utc - NOW == lifetime
    assert made.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def _stored(age: float, *conditions: Object, certificate: str = "") -> Object:
    created = (NOW - datetime.timedelta(hours=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = [{"status": "True", "lastUpdateTime": created, **each} for each in conditions]
    status = {"conditions": found, **({"certificate": certificate} if certificate else {})}
    return {"metadata": {"name": "c", "creationTimestamp": created}, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("stored", "hours"),
    [
        (_stored(1), 23),
        (_stored(25), -1),
        (_stored(0.5, {"type": "Denied"}), 0.5),
        (_stored(2, {"type": "Failed"}), -1),
        (_stored(2, {"type": "Approved"}), 22),
    ],
)
def test_requests_are_kept_for_a_while(stored: Object, hours: float) -> None:
    assert seconds_to_live(stored, NOW) == hours * 3600


async def test_a_node_gets_its_certificate_and_a_wrong_request_fails(tmp_path: Path) -> None:
    async with cluster(tmp_path) as here:
        pki = tmp_path / "pki"
        keys = {"cluster_signing_cert_file": pki / "ca.crt", "cluster_signing_key_file": pki / "ca.key"}
        await here.control(CsrApprover, CsrSigner, **keys)
        signer = "kubernetes.io/kube-apiserver-client-kubelet"
        spec: Object = {"request": encoded(request(*NODE)), "signerName": signer, "usages": CLIENT}
        body = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
        await here.client.create(r.CERTIFICATESIGNINGREQUESTS, {**body, "metadata": {"name": "n1"}, "spec": spec})
        signed = await here.until(
            r.CERTIFICATESIGNINGREQUESTS, "n1", lambda found: found and found["status"].get("certificate")
        )
        assert signed is not None
        assert signed["status"]["conditions"][0]["reason"] == "AutoApproved"
        made = x509.load_pem_x509_certificate(base64.b64decode(signed["status"]["certificate"]))
        made.verify_directly_issued_by(x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes()))
        wrong = {**spec, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["any"]}
        made_wrong = {**body, "metadata": {"name": "wrong"}, "spec": wrong}
        stored = await here.client.create(r.CERTIFICATESIGNINGREQUESTS, made_wrong)
        approval = {"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]}
        await here.client.update(r.CERTIFICATESIGNINGREQUESTS, {**stored, "status": approval}, subresource="approval")
        failed = await here.until(
            r.CERTIFICATESIGNINGREQUESTS, "wrong", lambda found: found and len(found["status"]["conditions"]) == 2
        )
        assert failed is not None
        assert failed["status"]["conditions"][1]["message"] == "invalid usage for client certificate: any"
