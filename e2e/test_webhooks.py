"""Webhooks that are pods behind a Service: the API server reaches them by the cluster's own network."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.cluster import KUBECTL, Cluster, eventually, pod, run
from shim.api.meta import Object

SERVER = Path(__file__).with_name("webhook_server.py")


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


def server(namespace: str) -> tuple[list[Object], str]:
    """The objects of a webhook server, and the CA bundle that vouches for it."""
    cert, key = certificate(f"hook.{namespace}.svc")
    files = {"tls.crt": cert, "tls.key": key, "server.py": SERVER.read_bytes()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hook"},
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hook"},
        "spec": {"selector": {"app": "hook"}, "ports": [{"port": 443, "targetPort": 8443}]},
    }
    made = pod(
        "hook",
        "/usr/bin/python3",  # the image is this machine's own root
        "/hook/server.py",
        image="localhost/host",
        readinessProbe={"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        volumeMounts=[{"name": "hook", "mountPath": "/hook"}],
    )
    made["spec"]["volumes"] = [{"name": "hook", "secret": {"secretName": "hook"}}]
    return [secret, service, made], base64.b64encode(cert).decode()


def configuration(kind: str, namespace: str, bundle: str, path: str, *resources: str, **more: object) -> Object:
    rule = {"operations": ["CREATE", "CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources}
    hook = {
        "name": f"{path}.example.com",
        "clientConfig": {
            "service": {"name": "hook", "namespace": namespace, "path": f"/{path}"},
            "caBundle": bundle,
        },
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": f"{path}-{namespace}"},
        "webhooks": [hook],
    }


@pytest.fixture
def hooked(cluster: Cluster, namespace: str) -> str:
    """A namespace whose ConfigMaps and connections are judged by a pod in it."""
    objects, bundle = server(namespace)
    cluster.apply(*objects, namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/hook", "--timeout=60s")
    conditions = [
        {"name": "no-ca", "expression": "object.kind != 'ConfigMap' || !object.metadata.name.startsWith('kube')"}
    ]
    cluster.apply(
        configuration("Mutating", namespace, bundle, "label", "configmaps", matchConditions=conditions),
        configuration("Validating", namespace, bundle, "judge", "configmaps", "pods/exec", matchConditions=conditions),
    )
    return namespace


def test_a_pod_judges_what_kubectl_asks(cluster: Cluster, hooked: str, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(
        lambda: cluster.kubectl(
            "delete", f"mutatingwebhookconfiguration/label-{hooked}", f"validatingwebhookconfiguration/judge-{hooked}"
        )
    )

    def tried() -> str:
        done = run([str(KUBECTL), "create", "configmap", "bad", "-n", hooked], check=False, env=cluster.environment())
        return done.stderr

    told = 'error: failed to create configmap: admission webhook "judge.example.com" denied the request: bad name'
    eventually(lambda: told in tried(), "the Service leads to the pod")
    made = run(
        [str(KUBECTL), "create", "configmap", "good", "-n", hooked, "--dry-run=server", "-o", "json"],
        env=cluster.environment(),
    )
    assert json.loads(made.stdout)["metadata"]["labels"] == {"seen": "dry"}, "a dry run goes through everything"
    assert "Warning: looked at good" in made.stderr
    cluster.kubectl("create", "configmap", "good", "-n", hooked)
    assert cluster.get("configmap", "good", "-n", hooked)["metadata"]["labels"] == {"seen": "yes"}
    said = cluster.refused("exec", "hook", "-n", hooked, "--", "true")
    assert 'admission webhook "judge.example.com" denied the request: no visitors' in said
