"""What do the signers of the cluster sign, and how? Pure functions of requests, usages and a CA.

Each signer takes some requests only
(https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shim.api.certificates import KUBE_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY

LONGEST = datetime.timedelta(days=365)
SHORTEST = datetime.timedelta(minutes=10)
BACKDATED = datetime.timedelta(minutes=5)  # clocks differ
SHORT = datetime.timedelta(hours=8)  # shorter lives are not shortened by the backdating

_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_KEY_USAGES = tuple(dict.fromkeys(_USAGES.values()))
_PURPOSES = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}
_NODES, _NODE = ["system:nodes"], "system:node:"


@dataclass(frozen=True)
class Authority:
    """A CA."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def read(cls, certificate: bytes, key: bytes) -> Authority:
        """From PEM. Raises ValueError."""
        loaded = serialization.load_pem_private_key(key, None)
        if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError("the CA's key must be an RSA or an EC key")
        return cls(x509.load_pem_x509_certificate(certificate), loaded)


def names_of(request: x509.CertificateSigningRequest) -> tuple[str, list[str]]:
    """The common name a request is for, and its organisations: as a client, its user and groups."""

    def values(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(each.value) for each in request.subject.get_attributes_for_oid(oid)]

    return (values(NameOID.COMMON_NAME) or [""])[-1], values(NameOID.ORGANIZATION_NAME)


def alternatives_of(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    """The DNS names, addresses and others a request is for."""
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _kubelet(
    request: x509.CertificateSigningRequest, usages: Collection[str], purpose: str, *, allowed: dict[type, str]
) -> str:
    """What is wrong with a node's request; ``allowed`` words the refusal of each kind of alternative name."""
    name, organizations = names_of(request)
    if organizations != _NODES:
        return "subject organization is not system:nodes"
    alternatives = alternatives_of(request)
    if purpose == "server auth" and not any(isinstance(each, x509.DNSName | x509.IPAddress) for each in alternatives):
        return "DNS or IP subjectAltName is required"
    for kind, text in allowed.items():
        if any(isinstance(each, kind) for each in alternatives):
            return text
    wanted = sorted(("digital signature", "key encipherment", purpose))
    matches = set(usages) in (set(wanted), set(wanted) - {"key encipherment"})
    misnamed = "" if name.startswith(_NODE) else "subject common name does not begin with system:node:"
    unmatched = "" if matches else f"usages did not match [{' '.join(wanted)}]"
    # upstream asks a server for its usages first, a client for its name
    return (unmatched or misnamed) if purpose == "server auth" else (misnamed or unmatched)


def kubelet_client(request: x509.CertificateSigningRequest, usages: Collection[str]) -> str:
    """What is wrong with a node's request for its own identity; empty when nothing is."""
    kinds: dict[type, str] = {
        x509.DNSName: "DNS subjectAltNames are not allowed",
        x509.RFC822Name: "Email subjectAltNames are not allowed",
        x509.IPAddress: "IP subjectAltNames are not allowed",
        x509.UniformResourceIdentifier: "URI subjectAltNames are not allowed",
    }
    return _kubelet(request, usages, "client auth", allowed=kinds)


def _kubelet_serving(request: x509.CertificateSigningRequest, usages: Collection[str]) -> str:
    kinds: dict[type, str] = {
        x509.RFC822Name: "Email subjectAltNames are not allowed",
        x509.UniformResourceIdentifier: "URI subjectAltNames are not allowed",
    }
    return _kubelet(request, usages, "server auth", allowed=kinds)


def _client(request: x509.CertificateSigningRequest, usages: Collection[str]) -> str:
    for usage in usages:
        if usage not in ("digital signature", "key encipherment", "client auth"):
            return f"invalid usage for client certificate: {usage}"
    return "" if "client auth" in usages else "missing required usage for client certificate: client auth"


SIGNERS: dict[str, Callable[[x509.CertificateSigningRequest, Collection[str]], str]] = {
    KUBE_CLIENT: _client,
    KUBELET_CLIENT: kubelet_client,
    KUBELET_SERVING: _kubelet_serving,
    LEGACY: lambda request, usages: "",
}
"""By name: what is wrong with a request, or nothing."""


def sign(
    authority: Authority,
    request: x509.CertificateSigningRequest,
    usages: Collection[str],
    seconds: int | None,
    now: datetime.datetime,
) -> bytes:
    """The certificate as PEM. It never outlives its CA. Raises ValueError."""
    lifetime = LONGEST if seconds is None else min(LONGEST, max(SHORTEST, datetime.timedelta(seconds=seconds)))
    ends = now + (lifetime if lifetime < SHORT else lifetime - BACKDATED)
    last = authority.certificate.not_valid_after_utc
    if now >= last:
        raise ValueError(f"refusing to sign a certificate that expired in the past: NotAfter={last}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(ends, last))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if wanted := {_USAGES[usage] for usage in usages if usage in _USAGES}:
        builder = builder.add_extension(x509.KeyUsage(**{name: name in wanted for name in _KEY_USAGES}), critical=True)
    if purposes := [oid for usage, oid in _PURPOSES.items() if usage in usages]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(dict.fromkeys(purposes))), critical=False)
    if alternatives := alternatives_of(request):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
