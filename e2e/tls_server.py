"""An HTTPS server of the standard library in a pod behind a Service: its script, its certificate, the objects."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.cluster import pod
from shim.api.meta import Object


def certificate(host: str) -> tuple[bytes, bytes]:
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def server(name: str, namespace: str, script: Path) -> tuple[list[Object], str]:
    """The objects of a server that listens on 8443 beside its certificate, and the CA bundle that vouches for it."""
    cert, key = certificate(f"{name}.{namespace}.svc")
    files = {"tls.crt": cert, "tls.key": key, "server.py": script.read_bytes()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "data": {each: base64.b64encode(content).decode() for each, content in files.items()},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 443, "targetPort": 8443}]},
    }
    made = pod(
        name,
        "/usr/bin/python3",  # the image is this machine's own root
        "/server/server.py",
        image="localhost/host",
        readinessProbe={"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        volumeMounts=[{"name": "server", "mountPath": "/server"}],
    )
    made["spec"]["volumes"] = [{"name": "server", "secret": {"secretName": name}}]
    return [secret, service, made], base64.b64encode(cert).decode()
