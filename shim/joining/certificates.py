"""Certificates by request: made here, signed by the cluster, and made anew before they end. Keys never leave us."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shim.api.certificates import KUBE_CLIENT, KUBELET_CLIENT, KUBELET_SERVING
from shim.api.conditions import find
from shim.api.meta import Object
from shim.client import Client
from shim.client import resource as r
from shim.cluster import ClusterError

PATIENCE = 60.0  # seconds until a request is approved and signed, which the controllers do at once
RENEW_AT = 0.7  # of its life, as early as a kubelet does
CLIENT_USAGES = ("digital signature", "client auth")
SERVING_USAGES = ("digital signature", "server auth")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate to ask for."""

    signer: str
    name: str
    groups: tuple[str, ...] = ()
    usages: tuple[str, ...] = CLIENT_USAGES
    addresses: tuple[str, ...] = ()


def of_kubelet(node: str) -> Wanted:
    return Wanted(KUBELET_CLIENT, f"system:node:{node}", ("system:nodes",))


def of_kubelet_serving(node: str, addresses: Sequence[str]) -> Wanted:
    return Wanted(KUBELET_SERVING, f"system:node:{node}", ("system:nodes",), SERVING_USAGES, (node, *addresses))


def of_netproxy() -> Wanted:
    return Wanted(KUBE_CLIENT, "system:kube-proxy")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    def ends(self) -> datetime.datetime:
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc

    def due(self) -> datetime.datetime:
        """When it is to be made anew."""
        loaded = x509.load_pem_x509_certificate(self.certificate)
        begins = loaded.not_valid_before_utc
        return begins + RENEW_AT * (loaded.not_valid_after_utc - begins)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Pair | None:
        try:
            return cls(certificate.read_bytes(), key.read_bytes())
        except FileNotFoundError:
            return None


async def obtain(client: Client, wanted: Wanted, patience: float = PATIENCE) -> Pair:
    """Ask, and wait until it is signed. Raises ClusterError saying why it is not, and ApiError."""
    key = ec.generate_private_key(ec.SECP256R1())
    request: Object = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "node-csr-" if wanted.signer == KUBELET_CLIENT else "csr-"},
        "spec": {
            "request": base64.b64encode(_request(wanted, key)).decode(),
            "signerName": wanted.signer,
            "usages": list(wanted.usages),
        },
    }
    made = await client.create(r.CERTIFICATESIGNINGREQUESTS, request)
    name = made["metadata"]["name"]
    try:
        async with asyncio.timeout(patience):
            certificate = await _signed(client, made)
    except TimeoutError:
        text = f"certificate request {name} was not approved and signed in {patience:.0f} s"
        raise ClusterError(f"{text}: are the controllers working? (kubectl get csr)") from None
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate, private)


async def _signed(client: Client, made: Object) -> bytes:
    name, version = made["metadata"]["name"], made["metadata"]["resourceVersion"]
    while True:
        changes = client.watch(
            r.CERTIFICATESIGNINGREQUESTS, resource_version=version, field_selector=f"metadata.name={name}"
        )
        async for event, request in changes:
            version = request["metadata"]["resourceVersion"]
            for condition in ("Denied", "Failed"):
                if refusal := find(request, condition):
                    said = refusal.get("message") or refusal.get("reason", "")
                    raise ClusterError(f"certificate request {name} was {condition.lower()}: {said}")
            if event == "DELETED":
                raise ClusterError(f"certificate request {name} was deleted before it was signed")
            if certificate := (request.get("status") or {}).get("certificate"):
                return base64.b64decode(certificate)


def _request(wanted: Wanted, key: ec.EllipticCurvePrivateKey) -> bytes:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in wanted.groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, wanted.name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if wanted.addresses:
        names = x509.SubjectAlternativeName([_general_name(address) for address in wanted.addresses])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
