"""Requests for certificates (PKCS#10) and blocks of PEM, read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KUBE_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
"""The signers of upstream's controller manager
(https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers)."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)


def pem_blocks(text: bytes) -> list[tuple[str, bytes]]:
    """Each block of PEM in a text: what it says it is, and the block."""
    return [(match[1].decode(), match[0]) for match in _BLOCK.finditer(text)]


def parse_request(encoded: str) -> x509.CertificateSigningRequest:
    """The request in base64 of PEM, as ``spec.request`` of the API holds it. Raises ValueError in upstream's words."""
    try:
        blocks = pem_blocks(base64.b64decode(encoded, validate=True))
    except binascii.Error as error:
        raise ValueError(f"illegal base64 data: {error}") from None
    if not blocks or blocks[0][0] != "CERTIFICATE REQUEST":
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    return x509.load_pem_x509_csr(blocks[0][1])


def key_pin(encoded: str) -> str:
    """``sha256:HEX`` of the public key of a certificate in base64 of PEM: how kubeadm pins a CA (RFC 7469)."""
    certificate = x509.load_pem_x509_certificate(base64.b64decode(encoded))
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(key).hexdigest()}"
