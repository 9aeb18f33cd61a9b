import base64

import pytest
import yaml

from shim.client import kubeconfig


def write(tmp_path, user, cluster=None):
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "dev"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def test_certificates_are_taken_inline_or_from_files_beside_it(tmp_path):
    (tmp_path / "ca.crt").write_bytes(b"CA")
    inline = base64.b64encode(b"CERT").decode()
    path = write(tmp_path, {"client-certificate-data": inline}, {"certificate-authority": "ca.crt"})

    access = kubeconfig.load(path)

    assert (access.ca, access.certificate) == (b"CA", b"CERT")
    assert access.server == "https://127.0.0.1:6443"
    assert access.namespace == "dev"


def test_a_token_may_be_in_a_file(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    assert kubeconfig.load(write(tmp_path, {"tokenFile": "token"})).token == "secret"


def test_what_is_not_supported_is_refused_by_name(tmp_path):
    with pytest.raises(kubeconfig.KubeconfigError, match="'exec' is not supported"):
        kubeconfig.load(write(tmp_path, {"exec": {"command": "aws"}}))
