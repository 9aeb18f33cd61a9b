"""Makes this machine a node: its name is taken, its certificates are fetched, and kept from ending.

Three certificates lie in the data directory: the kubelet's (``kubelet.kubeconfig``), the proxy's
(``netproxy.kubeconfig``), and the one the kubelet's own API is served with (``pki/kubelet.crt``). Only the first needs
a token; with it the others are fetched, and all of them renewed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shim import pki
from shim.api.conditions import is_true
from shim.api.status import ApiError
from shim.client import Client, Unreachable, kubeconfig
from shim.client import resource as r
from shim.client.kubeconfig import Access
from shim.cluster import ClusterError
from shim.joining import certificates
from shim.joining.certificates import Pair, Wanted
from shim.joining.discovery import discover

log = logging.getLogger(__name__)

CONFIG_NAMESPACE, CONFIG_NAME = "kube-system", "shim-config"
LOOK_EVERY = 60.0  # seconds between looks at the calendar and for new masters: few lose one just after it has come
RETRY = 30.0


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """A node's files, and who it is."""

    data_dir: Path
    node: str
    address: str

    @property
    def kubelet(self) -> Path:
        return self.data_dir / "kubelet.kubeconfig"

    @property
    def netproxy(self) -> Path:
        return self.data_dir / "netproxy.kubeconfig"

    @property
    def ca(self) -> Path:
        return self.data_dir / "pki" / "ca.crt"

    @property
    def certificate(self) -> Path:
        return self.data_dir / "pki" / "kubelet.crt"

    @property
    def key(self) -> Path:
        return self.data_dir / "pki" / "kubelet.key"


async def join(files: NodeFiles, server: str, token: str, pin: str) -> None:
    """Become a node of the cluster at ``server``. Raises ClusterError."""
    found = await discover(server, token, pin)
    try:
        async with Client(Access(found.server, found.ca, token=token), user_agent="shim-join") as client:
            await _check_name(client, files.node)
            pair = await certificates.obtain(client, certificates.of_kubelet(files.node))
    except ApiError as error:
        if error.code == 401:
            raise ClusterError(
                "the API server refuses the token: it is not for authentication, or has expired"
            ) from None
        raise ClusterError(f"the API server does not let this token ask for a certificate: {error}") from None
    files.ca.parent.mkdir(parents=True, exist_ok=True)
    pki.write_private(files.ca, found.ca)
    _write_kubeconfig(files.kubelet, Access(found.server, found.ca), pair)


async def _check_name(client: Client, node: str) -> None:
    """A node that is alive keeps its name; one that is not may come back. Raises ClusterError."""
    try:
        present = await client.get(r.NODES, node)
    except ApiError as error:
        if error.code != 404:
            raise
        return
    if is_true(present, "Ready"):
        raise ClusterError(
            f'a Node with name "{node}" and status "Ready" already exists in the cluster: delete it, or choose another '
            "name by --node-name"
        )


async def complete(files: NodeFiles) -> dict[str, str]:
    """Fetch what is missing or due, and what the cluster tells its nodes. Raises ClusterError."""
    remembered = files.data_dir / "cluster.json"
    try:
        await renew(files, datetime.datetime.now(datetime.UTC))
        async with Client.from_kubeconfig(files.kubelet, user_agent="shim-join") as client:
            told = (await client.get(r.CONFIGMAPS, CONFIG_NAME, CONFIG_NAMESPACE))["data"]
        await learn_masters(files)
    except ApiError as error:
        if isinstance(error, Unreachable) and remembered.exists():
            return dict(json.loads(remembered.read_text()))  # the node works on without a master
        raise ClusterError(f"the node's own identity does not get it what it needs: {error}") from None
    remembered.write_text(json.dumps(told))
    return dict(told)


async def renew(files: NodeFiles, present: datetime.datetime) -> list[str]:
    """Make anew what is missing or due; the names of what was. Raises ApiError and ClusterError."""
    access = kubeconfig.load(files.kubelet)
    made = []
    async with Client(access, user_agent="shim-join") as client:
        for path, wanted in (
            (files.kubelet, certificates.of_kubelet(files.node)),
            (files.netproxy, certificates.of_netproxy()),
        ):
            if _is_due(_inside(path), present):
                _write_kubeconfig(path, access, await certificates.obtain(client, wanted))
                made.append(path.name)
        if _is_due(Pair.read(files.certificate, files.key), present):
            pair = await certificates.obtain(client, _serving(files, access.server))
            pki.write_private(files.key, pair.key)
            pki.write_private(files.certificate, pair.certificate)
            made.append(files.certificate.name)
    return made


async def keep_current(files: NodeFiles) -> None:
    """Renew in time, until cancelled. What uses a certificate is started again by whoever sees its file change."""
    while True:
        delay = LOOK_EVERY
        try:
            if made := await renew(files, datetime.datetime.now(datetime.UTC)):
                log.info("made anew: %s", ", ".join(made))
            if found := await learn_masters(files):
                log.info("the cluster has another master: %s", ", ".join(found))
        except (ApiError, ClusterError) as error:
            log.warning("certificates are not renewed: %s", error)
            delay = RETRY
        await asyncio.sleep(delay)


async def learn_masters(files: NodeFiles) -> list[str]:
    """Write down masters that are not known yet, so that any of them will do; returns them. Raises ApiError.

    None is forgotten: one that is away may come back, and costs but the time of trying it. Whoever joined by an address
    that is no master's (a load balancer's, a name's) goes on by that.
    """
    access = kubeconfig.load(files.netproxy)
    async with Client(access, user_agent="shim-join") as client:
        slices = await client.list(r.ENDPOINTSLICES, "default", label_selector="kubernetes.io/service-name=kubernetes")
    there = {address for piece in slices["items"] for each in piece["endpoints"] or () for address in each["addresses"]}
    new = sorted(there - set(access.masters))
    if new and urlsplit(access.server).hostname in there | set(access.masters):
        masters = (*access.masters, *new)
        for path in (files.kubelet, files.netproxy):
            known = kubeconfig.load(path)
            pair = Pair(known.certificate or b"", known.key or b"")
            _write_kubeconfig(path, dataclasses.replace(known, masters=masters), pair)
        return new
    return []


async def until_changed(*paths: Path, every: float = 10.0) -> None:
    """Returns when one of these files has another content."""
    before = [path.read_bytes() for path in paths]
    while [path.read_bytes() for path in paths] == before:  # noqa: ASYNC110  # no event tells of files
        await asyncio.sleep(every)


def joined_server(files: NodeFiles) -> str:
    """The server this machine has joined already; "" when it has not. Raises ClusterError when it is too late."""
    pair = _inside(files.kubelet)
    if pair is None:
        return ""
    if (ends := pair.ends()) <= datetime.datetime.now(datetime.UTC):
        raise ClusterError(f"the node's certificate ended on {ends:%Y-%m-%d}: remove {files.kubelet} and join again")
    return kubeconfig.load(files.kubelet).server


def _serving(files: NodeFiles, server: str) -> Wanted:
    # an API server's address is nobody's to serve on but its own: on a master the name must do
    is_master = urlsplit(server).hostname == files.address
    return certificates.of_kubelet_serving(files.node, () if is_master else (files.address,))


def _is_due(pair: Pair | None, present: datetime.datetime) -> bool:
    return pair is None or pair.due() <= present


def _inside(path: Path) -> Pair | None:
    try:
        access = kubeconfig.load(path)
    except FileNotFoundError:
        return None
    return Pair(access.certificate or b"", access.key or b"")


def _write_kubeconfig(path: Path, access: Access, pair: Pair) -> None:
    assert access.ca is not None
    extensions = [kubeconfig.masters_extension(access.masters)] if access.masters else []
    text = pki.kubeconfig_text(access.server, access.ca, path.stem, pair.certificate, pair.key, extensions=extensions)
    pki.write_private(path, text)
