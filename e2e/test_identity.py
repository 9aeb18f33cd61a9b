"""Who is who: certificates by request, tokens from secrets, and what a node may read."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.cluster import KUBECTL, Cluster, eventually, run


def test_an_approved_request_becomes_a_user(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "team"), x509.NameAttribute(NameOID.COMMON_NAME, "carol")]
    )
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    spec = {
        "request": base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
        "expirationSeconds": 3600,
    }
    request = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    cluster.kubectl("create", "-f", "-", input=json.dumps({**request, "metadata": {"name": namespace}, "spec": spec}))
    assert "Pending" in cluster.kubectl("get", "csr", namespace)
    cluster.kubectl("certificate", "approve", namespace)
    certificate = eventually(lambda: cluster.get("csr", namespace)["status"].get("certificate"))
    (tmp_path / "tls.crt").write_bytes(base64.b64decode(certificate))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "tls.key").write_bytes(pem)
    files = ["--client-certificate", str(tmp_path / "tls.crt"), "--client-key", str(tmp_path / "tls.key")]
    server = json.loads(cluster.kubectl("config", "view", "-o", "json"))["clusters"][0]["cluster"]["server"]
    access = ["--server", server, "--certificate-authority", str(cluster.data_dir / "pki" / "ca.crt"), *files]
    environment = {**cluster.environment(), "KUBECONFIG": "/dev/null"}
    told = run([str(KUBECTL), *access, "auth", "whoami", "-o", "json"], env=environment).stdout
    user = json.loads(told)["status"]["userInfo"]
    assert (user["username"], user["groups"]) == ("carol", ["team", "system:authenticated"])
    cluster.kubectl("delete", "csr", namespace)
