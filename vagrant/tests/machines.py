"""The virtual machines that ``make vagrant-up`` has started, used from here by the kubeconfig it fetched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson

from e2e.cluster import Cluster

FOLDER = Path(__file__).resolve().parent.parent


class Machines(Cluster):
    """A cluster of virtual machines; emulated ones are slow, so everything is given time."""

    def __init__(self) -> None:
        super().__init__("vagrant", FOLDER / ".vagrant" / "tests")
        self.kubeconfig = FOLDER / "kubeconfig"

    def vagrant(self, *args: str, timeout: float = 1800) -> str:
        """Run ``vagrant ARGS``."""
        command = ["vagrant", *args, "--no-tty"]
        return subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True, timeout=timeout).stdout

    def on(self, machine: str, command: str) -> str:
        """What a command prints on a machine, as root."""
        return self.vagrant("ssh", machine, "-c", f"sudo {command}")

    def workers(self) -> list[str]:
        return [node["metadata"]["name"] for node in self.get("nodes")["items"]]

    def masters(self) -> dict[str, str]:
        """The address of every master, by its name."""
        settings = orjson.loads((FOLDER / ".vagrant" / "settings.json").read_bytes())
        return {f"master-{n}": f"192.168.56.{9 + n}" for n in range(1, int(settings.get("MASTERS", "1")) + 1)}
