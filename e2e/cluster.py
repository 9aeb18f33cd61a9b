"""A real cluster for tests: started and stopped by the real command, used through real kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Addresses = Callable[[], AbstractContextManager[None]]  # the fixture `addresses`
ROOT = Path(__file__).resolve().parent.parent
VENV = Path(sys.executable).parent.parent
KUBECTL = VENV / "kubectl-1.36" / "kubectl"
OLD_KUBECTL = VENV / "kubectl-1.32" / "kubectl"


class Cluster:
    """One cluster by name, its state in ``data_dir``."""

    def __init__(self, name: str, data_dir: Path, addresses: Addresses = nullcontext) -> None:
        self.name, self.data_dir, self.addresses = name, data_dir, addresses
        self.kubeconfig = data_dir / "admin.kubeconfig"

    def shim(self, *args: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``shim ARGS`` for this cluster."""
        command = [sys.executable, "-m", "shim", *args, "--name", self.name, "--data-dir", str(self.data_dir)]
        return run(command, check=check, timeout=timeout)

    def up(self, nodes: int = 3) -> None:
        with self.addresses():
            self.shim("up", "--nodes", str(nodes))

    def down(self, *, purge: bool = False) -> None:
        self.shim("down", *(["--purge"] if purge else []))

    def kubectl(self, *args: str, input: str | None = None, binary: Path = KUBECTL, timeout: float = 90) -> str:
        """Run real kubectl; its standard output. Fails the test with kubectl's words when it fails."""
        return run([str(binary), *args], input=input, timeout=timeout, env=self.environment()).stdout

    def refused(self, *args: str, input: str | None = None) -> str:
        """Run kubectl where it must fail; what it said."""
        done = run([str(KUBECTL), *args], input=input, check=False, env=self.environment())
        assert done.returncode != 0, f"kubectl {' '.join(args)} should have failed: {done.stdout}"
        return done.stderr

    def environment(self) -> dict[str, str]:
        cache = self.data_dir.parent / "kubectl-cache"  # discovery kept from another cluster would mislead
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(cache), "HOME": "/nonexistent"}

    def get(self, *args: str) -> Any:
        """``kubectl get ARGS -o json``, parsed."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *manifests: dict[str, Any], namespace: str = "default") -> None:
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self.kubectl("apply", "-n", namespace, "-f", "-", input=documents)

    def parts(self) -> dict[str, int]:
        """The process id of each part."""
        status = json.loads((self.run_dir / "status.json").read_text())
        return {part["name"]: part["pid"] for part in status["parts"]}

    def cgroups(self, pattern: str) -> list[Path]:
        """Files of the cluster's cgroups, of version 1 or 2; into others, which come and go, nobody looks.

        Raises FileNotFoundError when one of its own goes meanwhile.
        """
        root = Path("/sys/fs/cgroup")
        tops = [*root.glob(f"shim-{self.name}"), *root.glob(f"*/shim-{self.name}")]
        return [path for top in tops for path in top.glob(pattern)]

    @property
    def run_dir(self) -> Path:
        return Path("/run") / f"shim-{self.name}"

    @property
    def ranges(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "cluster.json").read_text()))


def run(
    command: list[str],
    *,
    check: bool = True,
    input: str | None = None,
    timeout: float = 90,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """A command with its output as text; when it must not fail and does, both outputs are in the error."""
    done = subprocess.run(command, capture_output=True, text=True, input=input, timeout=timeout, env=env, cwd=ROOT)
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(command)} exited with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return done


def eventually(check: Callable[[], T], what: str = "", timeout: float = 60) -> T:
    """Call until the answer is true; fail after ``timeout`` seconds with the last answer or error."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = check()
            if answer:
                return answer
            last: object = answer
        except (AssertionError, OSError, KeyError, IndexError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what or check}; last: {last}")
        time.sleep(0.1)


def deployment(name: str, replicas: int = 1, lingers: int = 2, **container: Any) -> dict[str, Any]:
    """A Deployment of busybox web servers that answer with their own name, ``lingers`` seconds after their end too:
    within them every node must have learnt that no request goes there any more."""
    spec = {
        "name": "web",
        "image": "busybox",
        "command": ["sh", "-c", "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": lingers}}},
        **container,
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": lingers + 1, "containers": [spec]},
            },
        },
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
    }


def pod(name: str, *command: str, restart: str = "Never", **container: Any) -> dict[str, Any]:
    """A pod of one busybox container running a shell command."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "busybox", "command": list(command), **container}],
        },
    }
