"""The certificates and kubeconfigs of a cluster: one CA signs all, every part has a name of its own.

A second CA vouches for one certificate only: what the API server shows extension servers, which believe whoever has
it about who asks. No client of the first CA can pass for it.

Who a part is stands in its client certificate, as in any Kubernetes
(https://kubernetes.io/docs/setup/best-practices/certificates/): the common name is the user, organisations are
its groups. Making them again changes nothing, unless an address is new.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_YEARS = 10
LEAF_YEARS = 1  # kubeadm's choice too; made anew by `shim up` when fewer than RENEW_DAYS remain
RENEW_DAYS = 90
CLUSTER_DOMAIN = "cluster.local"
CA, FRONT_PROXY_CA = "ca", "front-proxy-ca"


@dataclass(frozen=True, slots=True)
class Identity:
    """A client: the user it is and the groups it is in."""

    user: str
    groups: tuple[str, ...] = ()


ADMIN = Identity("kubernetes-admin", ("system:masters",))
CONTROLLERS = Identity("system:kube-controller-manager")
SCHEDULER = Identity("system:kube-scheduler")
NETPROXY = Identity("system:kube-proxy")
KUBELET_CLIENT = Identity("kube-apiserver-kubelet-client", ("system:masters",))
FRONT_PROXY = Identity("front-proxy-client")


def node_identity(node: str) -> Identity:
    return Identity(f"system:node:{node}", ("system:nodes",))


def ensure_pki(data_dir: Path, *, addresses: Iterable[str], service_ip: str) -> None:
    """Make the CA, the API server's certificate and the service-account key, where they are missing.

    ``addresses`` are the IP addresses and host names clients use; the server's certificate is made anew when it
    lacks one of them.
    """
    pki = data_dir / "pki"
    pki.mkdir(parents=True, exist_ok=True)
    os.chmod(pki, 0o700)
    for ca, common_name in ((CA, "shim-ca"), (FRONT_PROXY_CA, "front-proxy-ca")):
        if not (pki / f"{ca}.crt").exists():
            _make_ca(pki, ca, common_name)
    if not (pki / "sa.key").exists():
        _make_service_account_key(pki)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}"]
    ensure_serving(data_dir, "apiserver", "kube-apiserver", [*names, "localhost", "127.0.0.1", service_ip, *addresses])
    for identity, name, ca in ((KUBELET_CLIENT, "kubelet-client", CA), (FRONT_PROXY, FRONT_PROXY.user, FRONT_PROXY_CA)):
        _ensure_leaf(pki, name, identity.user, identity.groups, [], ExtendedKeyUsageOID.CLIENT_AUTH, ca)


def ensure_serving(data_dir: Path, name: str, common_name: str, addresses: Iterable[str]) -> tuple[Path, Path]:
    """A serving certificate for these IP addresses and DNS names: ``pki/<name>.crt`` and ``.key``."""
    pki = data_dir / "pki"
    wanted = list(dict.fromkeys(addresses))
    groups = ("system:nodes",) if common_name.startswith("system:node:") else ()
    _ensure_leaf(pki, name, common_name, groups, wanted, ExtendedKeyUsageOID.SERVER_AUTH)
    return pki / f"{name}.crt", pki / f"{name}.key"


def ensure_kubeconfig(data_dir: Path, path: Path, server: str, identity: Identity, cluster: str = "shim") -> Path:
    """A kubeconfig with everything inlined, mode 0600; kept when it already names this server and CA."""
    pki = data_dir / "pki"
    ca = _b64(pki / "ca.crt")
    if path.exists() and _is_current(path, server, ca):
        return path
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _sign(pki, identity.user, identity.groups, key, [], ExtendedKeyUsageOID.CLIENT_AUTH)
    text = kubeconfig_text(server, (pki / "ca.crt").read_bytes(), identity.user, _pem(cert), _key_pem(key), cluster)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, text)
    return path


def kubeconfig_text(
    server: str,
    ca: bytes,
    user: str,
    certificate: bytes,
    key: bytes,
    cluster: str = "shim",
    extensions: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """A kubeconfig with everything inlined; what is given is PEM. ``extensions`` are the cluster's."""
    keys = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    trusted: dict[str, Any] = {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}
    if extensions:
        trusted["extensions"] = list(extensions)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": trusted}],
        "users": [{"name": user, "user": keys}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner ever can read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def _make_ca(pki: Path, file: str, common_name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    cert = (
        _builder(name, name, key.public_key(), CA_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(pki / f"{file}.key", _key_pem(key))
    write_private(pki / f"{file}.crt", _pem(cert))


def _make_service_account_key(pki: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)  # RS256: what verifiers everywhere accept
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(pki / "sa.pub", public)
    write_private(pki / "sa.key", _key_pem(key))


def _ensure_leaf(
    pki: Path,
    name: str,
    common_name: str,
    groups: tuple[str, ...],
    addresses: list[str],
    usage: x509.ObjectIdentifier,
    ca: str = CA,
) -> None:
    path = pki / f"{name}.crt"
    if path.exists():
        present = x509.load_pem_x509_certificate(path.read_bytes())
        if set(addresses) <= _addresses_of(present) and not _is_old(present):
            return
        addresses = sorted({*addresses, *_addresses_of(present)})
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _sign(pki, common_name, groups, key, addresses, usage, ca)
    write_private(pki / f"{name}.key", _key_pem(key))
    write_private(path, _pem(cert))


def _sign(
    pki: Path,
    common_name: str,
    groups: tuple[str, ...],
    key: ec.EllipticCurvePrivateKey,
    addresses: list[str],
    usage: x509.ObjectIdentifier,
    issuer: str = CA,
) -> x509.Certificate:
    ca = x509.load_pem_x509_certificate((pki / f"{issuer}.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((pki / f"{issuer}.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    builder = (
        _builder(x509.Name(subject), ca.subject, key.public_key(), LEAF_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if addresses:
        alternatives = x509.SubjectAlternativeName([_general_name(address) for address in addresses])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, years: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks of joining machines may lag
        .not_valid_after(now + datetime.timedelta(days=365 * years))
    )


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _addresses_of(cert: x509.Certificate) -> set[str]:
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def expiry(certificate: bytes) -> float:
    """When a PEM certificate expires, in seconds since the epoch."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _is_old(cert: x509.Certificate) -> bool:
    left = cert.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left < datetime.timedelta(days=RENEW_DAYS)


def _is_current(path: Path, server: str, ca: str) -> bool:
    try:
        config = yaml.safe_load(path.read_text())
        cluster = config["clusters"][0]["cluster"]
        cert = x509.load_pem_x509_certificate(base64.b64decode(config["users"][0]["user"]["client-certificate-data"]))
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        return False
    return bool(cluster["server"] == server and cluster["certificate-authority-data"] == ca and not _is_old(cert))


def _b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
