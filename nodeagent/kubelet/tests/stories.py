"""Small pods and facts to tell stories with."""

from __future__ import annotations

from typing import Any

from nodeagent.engine.contract import SandboxState
from nodeagent.kubelet.observed import Observed, Run

NOW = 1_800_000_000.0


def container(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", **more}


def pod(
    *containers: dict[str, Any], init: Any = (), meta: Any = None, status: Any = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1, **(meta or {})},
        "spec": {
            "containers": list(containers) or [container()],
            "restartPolicy": "Always",
            **({"initContainers": list(init)} if init else {}),
            **spec,
        },
        "status": status or {"phase": "Pending", "qosClass": "BestEffort"},
    }


def run(name: str = "c", phase: Any = "running", *, attempt: int = 0, sandbox: str = "s1", **more: Any) -> Run:
    return Run(id=f"{name}-{attempt}", name=name, attempt=attempt, phase=phase, sandbox=sandbox, started_at=NOW, **more)


def ended(name: str = "c", code: int = 0, *, at: float = NOW, **more: Any) -> Run:
    return run(name, "exited", exit_code=code, finished_at=at, ended=at, **more)


def seen(*runs: Run, sandbox: bool = True, volumes: bool = True, **more: Any) -> Observed:
    """A pod whose sandbox is up; of each container the runs newest first."""
    by_name: dict[str, tuple[Run, ...]] = {}
    for one in runs:
        by_name[one.name] = (*by_name.get(one.name, ()), one)
    return Observed(
        sandbox=SandboxState("s1", True, "/n", NOW, {}) if sandbox else None,
        sandboxes=1 if sandbox else 0,
        ip="10.1.0.2" if sandbox else "",
        volumes_ready=volumes,
        runs=by_name,
        **more,
    )
