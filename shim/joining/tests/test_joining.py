"""A machine finds its cluster, is not taken in by another, and keeps its certificates; each refusal is one line."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from yarl import URL

from shim import pki
from shim.api.bootstrap_tokens import BootstrapToken
from shim.api.certificates import key_pin
from shim.cli.install import unit, without
from shim.client import kubeconfig
from shim.client import resource as r
from shim.cluster import ClusterError
from shim.controllers.bootstrap_tokens import BootstrapSigner
from shim.controllers.csr import CsrSigner
from shim.controllers.csr_approval import CsrApprover
from shim.controllers.joining import JoiningController
from shim.controllers.tests.cluster import Cluster, cluster
from shim.joining import discovery, master, node
from shim.joining.discovery import discover
from shim.joining.node import NodeFiles

TOKEN = "abcdef.0123456789abcdef"


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cluster]:
    directory = tmp_path / "master"
    async with cluster(directory, account=False) as made:
        keys = {name: directory / "pki" / file for name, file in KEYS.items()}
        parts = (JoiningController, BootstrapSigner, CsrApprover, CsrSigner)
        await made.control(*parts, public_url=made.client.server, **keys)
        await made.client.create(r.SECRETS, BootstrapToken(*TOKEN.split(".")).stored())
        yield made


KEYS = {"cluster_signing_cert_file": "ca.crt", "cluster_signing_key_file": "ca.key", "root_ca_file": "ca.crt"}


async def test_the_cluster_is_known_by_its_signature_and_its_pin(here: Cluster) -> None:
    server, ca = here.client.server, here.client.access.ca
    assert ca is not None
    pin = key_pin(base64.b64encode(ca).decode())
    found = await discover(server, TOKEN, pin)
    assert found.ca == ca
    refusals = [
        (server, "abcdef", "", "the token is not of the form abcdef.0123456789abcdef"),
        (server, "fedcba.0123456789abcdef", "", 'the cluster knows no token "fedcba", or it has expired'),
        (server, TOKEN[:-1] + "0", "", "not the cluster this token is of, or the token is mistyped"),
        (server, TOKEN, "sha256:" + "0" * 64, f"is {pin}, which is not the one pinned by --ca-hash"),
        (server.replace("127.0.0.1", "127.0.0.2"), TOKEN, "", "cannot be reached: dial tcp .*connection refused"),
        ("http://127.0.0.1:1", TOKEN, "", "begins with https://"),
    ]
    for where, token, pinned, said in refusals:
        with pytest.raises(ClusterError, match=said):
            await discover(where, token, pinned, patience=0.0)


async def test_a_master_that_is_too_busy_to_answer_is_asked_again(here: Cluster, monkeypatch) -> None:
    asked = []
    ask = discovery._ask

    async def busy(*args: Any) -> Any:
        asked.append(args)
        if len(asked) == 1:
            raise TimeoutError
        return await ask(*args)

    monkeypatch.setattr(discovery, "_ask", busy)
    assert (await discover(here.client.server, TOKEN)).ca == here.client.access.ca
    asked.clear()
    monkeypatch.setattr(discovery, "ATTEMPTS", 1)
    with pytest.raises(ClusterError, match="does not answer in 15 s"):
        await discover(here.client.server, TOKEN)


def test_a_clock_that_is_wrong_is_told_from_the_servers() -> None:
    discovery.check_clock(formatdate(time.time() - 60))
    with pytest.raises(ClusterError, match="this machine's clock is 60 min ahead of the API server's"):
        discovery.check_clock(formatdate(time.time() - 3600))


async def test_a_node_gets_three_certificates_and_makes_them_anew_in_time(here: Cluster, tmp_path: Path) -> None:
    files = NodeFiles(tmp_path / "node", "n1", "192.0.2.9")
    await node.join(files, here.client.server, TOKEN, "")
    told = await node.complete(files)
    assert told == {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16"}
    kubelet, netproxy = kubeconfig.load(files.kubelet), kubeconfig.load(files.netproxy)
    names = [x509.load_pem_x509_certificate(each.certificate or b"").subject for each in (kubelet, netproxy)]
    assert [name.rfc4514_string() for name in names] == ["CN=system:node:n1,O=system:nodes", "CN=system:kube-proxy"]
    serving = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    addresses = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in addresses] == ["n1", "192.0.2.9"]
    now = datetime.datetime.now(datetime.UTC)
    assert await node.renew(files, now) == []
    late = now + datetime.timedelta(days=300)
    assert await node.renew(files, late) == ["kubelet.kubeconfig", "netproxy.kubeconfig", "kubelet.crt"]
    assert files.certificate.read_bytes() != serving.public_bytes(node.certificates.serialization.Encoding.PEM)


async def test_a_node_goes_to_whichever_master_is_there(here: Cluster, tmp_path: Path) -> None:
    files = NodeFiles(tmp_path / "node", "n1", "192.0.2.9")
    await node.join(files, here.client.server, TOKEN, "")
    await node.complete(files)
    access = kubeconfig.load(files.kubelet)
    assert access.masters == kubeconfig.load(files.netproxy).masters == ("127.0.0.1",)
    assert await node.learn_masters(files) == []
    port = URL(access.server).port
    gone = dataclasses.replace(access, server=f"https://127.0.0.9:{port}", masters=("127.0.0.9", "127.0.0.1"))
    for _ in range(4):  # whoever is asked first
        async with node.Client(gone) as client:
            assert (await client.list(r.SERVICES, "default"))["items"]
    assert await node.renew(files, datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=300))
    assert kubeconfig.load(files.kubelet).masters == ("127.0.0.1",)
    # who came by a name or a load balancer's address stays with it
    by_name = dataclasses.replace(access, server=f"https://localhost:{port}", masters=())
    for path in (files.kubelet, files.netproxy):
        inside = kubeconfig.load(path)
        pair = node.Pair(inside.certificate or b"", inside.key or b"")
        node._write_kubeconfig(path, dataclasses.replace(by_name), pair)
    assert await node.learn_masters(files) == []
    assert kubeconfig.load(files.kubelet).masters == ()


async def test_a_living_nodes_name_is_taken(here: Cluster, tmp_path: Path) -> None:
    await here.add_node("n1")
    with pytest.raises(ClusterError, match='a Node with name "n1" and status "Ready" already exists'):
        await node.join(NodeFiles(tmp_path / "node", "n1", "192.0.2.9"), here.client.server, TOKEN, "")


async def test_a_node_gets_no_certificate_for_what_is_anothers(here: Cluster, tmp_path: Path) -> None:
    """Not for the API server's address, nor for another node's: it could pass for them."""
    await here.add_node("n1")
    addresses = {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}
    await here.client.patch(r.NODES, "n1", {"status": addresses}, subresource="status")
    files = NodeFiles(tmp_path / "node", "n2", "192.0.2.2")
    await node.join(files, here.client.server, TOKEN, "")
    async with node.Client.from_kubeconfig(files.kubelet) as client:
        for address in ("192.0.2.1", "127.0.0.1", "10.96.0.1", "kubernetes"):
            wanted = node.certificates.of_kubelet_serving("n2", (address,))
            with pytest.raises(ClusterError, match="was not approved and signed"):
                await node.certificates.obtain(client, wanted, patience=1.0)
        await node.certificates.obtain(client, node.certificates.of_kubelet_serving("n2", ("192.0.2.2",)))


async def test_a_node_called_like_the_api_server_serves_nobody(here: Cluster, tmp_path: Path) -> None:
    files = NodeFiles(tmp_path / "node", "kubernetes", "192.0.2.2")
    await node.join(files, here.client.server, TOKEN, "")
    async with node.Client.from_kubeconfig(files.kubelet) as client:
        wanted = node.certificates.of_kubelet_serving("kubernetes", ())
        with pytest.raises(ClusterError, match="was not approved and signed"):
            await node.certificates.obtain(client, wanted, patience=1.0)


async def test_masters_share_their_keys_encrypted(here: Cluster, tmp_path: Path) -> None:
    key = master.new_key()
    await here.client.create(r.SECRETS, master.encrypted(tmp_path / "master" / "pki", key))
    second = tmp_path / "second"
    with pytest.raises(ClusterError, match="cannot be decrypted with this --certificate-key"):
        await master.join(second, here.client.server, TOKEN, "", master.new_key())
    assert not (second / "pki" / "ca.key").exists()
    await master.join(second, here.client.server, TOKEN, "", key)
    for name in ("ca.key", "front-proxy-ca.key", "sa.key", *master.SHARED):  # all that one server signs for another
        assert (second / "pki" / name).read_bytes() == (tmp_path / "master" / "pki" / name).read_bytes()
    pki.ensure_pki(tmp_path / "third", addresses=[], service_ip="10.96.0.1")
    with pytest.raises(ClusterError, match="holds the keys of another cluster"):
        await master.join(tmp_path / "third", here.client.server, TOKEN, "", key)


def test_a_unit_holds_no_token() -> None:
    words = ["--server", "https://m:6443", "--token", TOKEN, "--ca-hash=sha256:00", "--node-name=n%1"]
    assert without(words, ("token", "ca_hash")) == ["--server", "https://m:6443", "--node-name=n%1"]
    text = unit("agent", words)
    assert TOKEN not in text
    assert "-m shim agent --server https://m:6443 --node-name=n%%1\n" in text
    assert "StartLimitIntervalSec=0\n" in text.partition("[Service]")[0]  # a master may be a long time coming
