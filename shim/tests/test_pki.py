"""A cluster's certificates: made once, verified by OpenSSL, renewed when an address is new."""

import ssl
import stat
import subprocess
from pathlib import Path

import yaml

from shim import pki


def test_the_ca_signs_a_serving_certificate_openssl_accepts(tmp_path: Path) -> None:
    pki.ensure_pki(tmp_path, addresses=["172.30.0.1"], service_ip="10.96.0.1")
    ca, cert = tmp_path / "pki/ca.crt", tmp_path / "pki/apiserver.crt"
    for address in ("-verify_ip 172.30.0.1", "-verify_ip 10.96.0.1", "-verify_hostname kubernetes.default.svc"):
        command = ["openssl", "verify", "-CAfile", str(ca), *address.split(), "-purpose", "sslserver", str(cert)]
        subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(cert, tmp_path / "pki/apiserver.key")


def test_making_it_again_keeps_the_files_until_an_address_is_new(tmp_path: Path) -> None:
    pki.ensure_pki(tmp_path, addresses=[], service_ip="10.96.0.1")
    before = {path.name: path.read_bytes() for path in (tmp_path / "pki").iterdir()}
    pki.ensure_pki(tmp_path, addresses=[], service_ip="10.96.0.1")
    assert {path.name: path.read_bytes() for path in (tmp_path / "pki").iterdir()} == before
    pki.ensure_pki(tmp_path, addresses=["172.30.9.1"], service_ip="10.96.0.1")
    after = {path.name: path.read_bytes() for path in (tmp_path / "pki").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"apiserver.crt", "apiserver.key"}


def test_a_kubeconfig_is_private_and_names_its_user(tmp_path: Path) -> None:
    pki.ensure_pki(tmp_path, addresses=[], service_ip="10.96.0.1")
    path = pki.ensure_kubeconfig(tmp_path, tmp_path / "admin.kubeconfig", "https://127.0.0.1:6443", pki.ADMIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_text())
    assert config["users"][0]["name"] == "kubernetes-admin"
    first = path.read_bytes()
    pki.ensure_kubeconfig(tmp_path, path, "https://127.0.0.1:6443", pki.ADMIN)
    assert path.read_bytes() == first
    pki.ensure_kubeconfig(tmp_path, path, "https://127.0.0.1:7443", pki.ADMIN)
    assert path.read_bytes() != first


def test_every_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    pki.ensure_pki(tmp_path, addresses=[], service_ip="10.96.0.1")
    keys = list((tmp_path / "pki").glob("*.key"))
    assert {key.stem for key in keys} == {
        "apiserver",
        "ca",
        "front-proxy-ca",
        "front-proxy-client",
        "kubelet-client",
        "sa",
    }
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)
