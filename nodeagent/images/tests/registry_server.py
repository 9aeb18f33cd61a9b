"""A real registry for tests, Debian's docker-registry, on the loopback; and skopeo, which knows nothing of our code."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REGISTRY = Path(sys.executable).parent.parent / "registry" / "registry"
USER, PASSWORD = "me", "secret"
HASH = "$2b$04$EZbuN/zptwOfTRHnTflps.K1nx2WzPAKS9feSprjQ6jl3vXGBHVGK"  # bcrypt of PASSWORD


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path, auth: dict[str, Any] | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """``host:port`` of a registry that keeps its blobs in ``folder``; it ends with the ``with``."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}, "delete": {"enabled": True}},
        "http": {"addr": f"{host}:{port}"},
        **({"auth": auth} if auth else {}),
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([REGISTRY, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the registry does not listen"
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def basic(folder: Path) -> dict[str, Any]:
    """Whoever asks must be USER."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(f"{USER}:{HASH}\n")
    return {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}


def tokens(folder: Path, realm: str) -> tuple[dict[str, Any], Any]:
    """The registry wants tokens that ``realm`` gives: its setting, and what signs one for a scope."""
    import base64

    import jwt
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
    present = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(present - datetime.timedelta(hours=1))
        .not_valid_after(present + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "tokens.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]

    def sign(scope: str) -> str:
        kind, path, actions = scope.split(":")
        access = [{"type": kind, "name": path, "actions": actions.split(",")}]
        now = int(time.time())
        told = {"iss": "issuer", "aud": "service", "sub": USER, "iat": now, "nbf": now - 9, "exp": now + 99, "jti": "1"}
        return jwt.encode({**told, "access": access}, key, algorithm="ES256", headers={"x5c": chain})

    bundle = str(folder / "tokens.pem")
    return {"token": {"realm": realm, "service": "service", "issuer": "issuer", "rootcertbundle": bundle}}, sign


def skopeo(*args: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"skopeo {' '.join(args)}: {done.stderr}"
    return done.stdout


def push(archive: Path, name: str, *more: str) -> None:
    """An OCI archive into a registry, by skopeo."""
    skopeo("copy", "-q", "--dest-tls-verify=false", *more, f"oci-archive:{archive}", f"docker://{name}")


def put_manifest(name: str, body: dict[str, Any]) -> None:
    """Push a manifest as it is; ``name``: ``host:port/path:tag``."""
    host, _, rest = name.partition("/")
    path, _, tag = rest.rpartition(":")
    url = f"http://{host}/v2/{path}/manifests/{tag}"
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
    request.add_header("Content-Type", body["mediaType"])
    urllib.request.urlopen(request, timeout=10).close()
