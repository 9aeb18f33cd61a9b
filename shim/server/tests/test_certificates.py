"""CertificateSigningRequests: who may write which part of them."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def request_for(name, *groups):
    """A PKCS#10 request as ``spec.request`` holds it."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def _body(api, **spec):
    wanted = {"request": request_for("alice"), "signerName": "example.com/signer", "usages": ["client auth"], **spec}
    return {"metadata": {"name": api.namespace}, "spec": wanted}


async def test_who_asks_is_written_by_the_server(api):
    groups = [("Impersonate-Group", "b"), ("Impersonate-Group", "a")]
    headers = {"Impersonate-User": "system:admin", **dict(groups)}
    role = {"metadata": {"name": api.namespace}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    await api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": api.namespace}
    subjects = [{"kind": "Group", "name": "a", "apiGroup": "rbac.authorization.k8s.io"}]
    binding = {"metadata": {"name": api.namespace}, "roleRef": reference, "subjects": subjects}
    await api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    forged = _body(api, username="system:kube-controller-manager", groups=["system:masters"], uid="1")
    made = await api.post(REQUESTS, forged, headers=headers)
    assert made.status == 201, made.data
    assert made.json["spec"]["username"] == "system:admin"
    assert made.json["spec"]["groups"] == ["a", "system:authenticated"]
    assert "uid" not in made.json["spec"]
    assert made.json["status"] == {}
    assert "managedFields" not in made.json["metadata"]  # nobody owns what nobody can change


async def test_each_part_is_written_by_its_own_path(api):
    path = f"{REQUESTS}/{api.namespace}"
    assert (await api.post(REQUESTS, _body(api))).status == 201
    await api.patch(path, {"spec": {"usages": ["any"]}, "status": {"certificate": "eA=="}})
    found = (await api.get(path)).json
    assert (found["spec"]["usages"], found["status"]) == (["client auth"], {})
    early = {"status": {"conditions": [{"type": "Approved", "status": "True"}]}}
    refused = await api.patch(f"{path}/status", early)
    assert 'updates may not add a condition of type "Approved"' in refused.message
    approved = await api.patch(f"{path}/approval", early)
    condition = approved.json["status"]["conditions"][0]
    assert condition["lastUpdateTime"]
    assert condition["lastTransitionTime"]
    both = {"status": {"conditions": [*approved.json["status"]["conditions"], {"type": "Denied", "status": "True"}]}}
    refused = await api.patch(f"{path}/approval", both)
    assert "Approved and Denied conditions are mutually exclusive" in refused.message
    refused = await api.patch(f"{path}/approval", {"status": {"conditions": []}})
    assert 'updates may not remove a condition of type "Approved"' in refused.message
    certificate = (api.directory / "pki" / "ca.crt").read_bytes()
    signed = {"status": {"certificate": base64.b64encode(certificate).decode()}}
    assert (await api.patch(f"{path}/approval", signed)).json["status"].get("certificate") is None
    refused = await api.patch(f"{path}/status", {"status": {"certificate": "eA=="}})
    assert "must contain at least one CERTIFICATE PEM block" in refused.message
    assert (await api.patch(f"{path}/status", signed)).status == 200
    refused = await api.patch(f"{path}/status", {"status": {"certificate": None}})
    assert "updates may not modify existing certificate content" in refused.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"request": "eA=="}, "PEM block type must be CERTIFICATE REQUEST"),
        ({"usages": []}, "spec.usages: Required value"),
        ({"usages": ["magic"]}, 'spec.usages[0]: Unsupported value: "magic": supported values: "any", "cert sign"'),
        ({"usages": ["any", "any"]}, 'spec.usages[1]: Duplicate value: "any"'),
        ({"signerName": ""}, "spec.signerName: Required value"),
        ({"signerName": "plain"}, "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        ({"signerName": "domain/x"}, "should be a domain with at least two segments separated by dots"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, "the legacy signerName is not allowed via this API version"),
        ({"expirationSeconds": 599}, "may not specify a duration less than 600 seconds (10 minutes)"),
    ],
)
async def test_what_is_refused(api, spec, said):
    refused = await api.post(REQUESTS, _body(api, **spec))
    assert (refused.status, said in refused.message) == (422, True), refused.message
