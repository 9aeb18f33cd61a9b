"""A cluster on one machine: its name, where its files are, and the addresses it uses.

What was chosen the first time is kept in ``cluster.json`` in the data directory, so that `down` and `up` bring the
same cluster back.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_NAME = "shim"
NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
STATE = Path("/var/lib")
RUN = Path("/run")


class ClusterError(Exception):
    """Something the user asked for cannot be done; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where everything of a cluster is. ``node_cidr`` is the machine's bridge, its first address the machine itself."""

    name: str
    data_dir: Path
    port: int
    nodes: int
    node_cidr: str
    pod_cidr: str
    service_cidr: str

    @property
    def run_dir(self) -> Path:
        return run_dir(self.name)

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    @property
    def image_dir(self) -> Path:
        return self.data_dir / "images"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.data_dir / "admin.kubeconfig"

    @property
    def gateway(self) -> str:
        """The machine's own address on the cluster's bridge: where nodes and pods reach the API server."""
        return str(ipaddress.ip_network(self.node_cidr)[1])

    @property
    def service_ip(self) -> str:
        """The kubernetes Service's address: the first of the range."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def dns_ip(self) -> str:
        """The cluster DNS's address: the tenth, as everywhere."""
        return dns_address(self.service_cidr)

    @property
    def url(self) -> str:
        """Where nodes and controllers reach the API server."""
        return f"https://{self.gateway}:{self.port}"

    @property
    def node_names(self) -> list[str]:
        return [f"node-{number}" for number in range(1, self.nodes + 1)]

    def node_ip(self, node: str) -> str:
        """``node-1`` has the bridge's eleventh address, and so on: the first ten are left for the machine."""
        return str(ipaddress.ip_network(self.node_cidr)[10 + int(node.rpartition("-")[2])])

    def node_dir(self, node: str) -> Path:
        return self.data_dir / "nodes" / node

    def save(self) -> None:
        """Keep the choices for the next `up`."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        content = {**dataclasses.asdict(self), "data_dir": str(self.data_dir)}
        draft = self.data_dir / "cluster.json.new"
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(self.data_dir / "cluster.json")


def dns_address(service_cidr: str) -> str:
    """Where the cluster DNS answers."""
    return str(ipaddress.ip_network(service_cidr)[10])


def run_dir(name: str) -> Path:
    """Sockets, pids and namespaces of a cluster; a reboot empties it."""
    return RUN / f"shim-{name}" if name != DEFAULT_NAME else RUN / "shim"


def default_data_dir(name: str) -> Path:
    return STATE / DEFAULT_NAME if name == DEFAULT_NAME else STATE / f"{DEFAULT_NAME}-{name}"


def check_name(name: str) -> str:
    """The name prefixes interfaces, namespaces and cgroups. Raises ClusterError."""
    if not NAME.fullmatch(name):
        raise ClusterError(f"cluster name {name!r}: lower-case letters, digits and dashes, beginning with a letter")
    return name


def load(name: str, data_dir: Path | None = None) -> Cluster | None:
    """The cluster as it was saved, or None where there is none. Raises ClusterError for a file that is not ours."""
    path = (data_dir or _remembered_data_dir(name)) / "cluster.json"
    try:
        content = json.loads(path.read_text())
        cluster = Cluster(**{**content, "data_dir": Path(content["data_dir"])})
    except FileNotFoundError:
        return None
    except PermissionError:
        raise ClusterError(f"{path.parent} belongs to root; try sudo") from None
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(f"{path} is not a cluster's description: {error}") from error
    if cluster.name != name:
        raise ClusterError(f"{path.parent} holds the cluster {cluster.name!r}, not {name!r}")
    return cluster


def _remembered_data_dir(name: str) -> Path:
    """A running cluster leaves a link to its data directory, so that `--data-dir` need not be said again."""
    link = run_dir(name) / "data"
    return link.readlink() if link.is_symlink() else default_data_dir(name)
