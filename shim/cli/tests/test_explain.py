"""What ``shim explain`` makes of the numbers and objects it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nodeagent.engine.anatomy import Container
from nodeagent.engine.contract import ContainerSpec
from shim.cli.explain_container import role_of, state_of, volumes_of, waiting_of
from shim.cli.explain_numbers import folders, in_words, meaning

POD: dict[str, Any] = {
    "spec": {
        "initContainers": [{"name": "prepare"}, {"name": "helper", "restartPolicy": "Always"}],
        "containers": [{"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/cfg/"}]}],
        "ephemeralContainers": [{"name": "debugger"}],
        "volumes": [{"name": "v", "configMap": {"name": "settings"}}],
    },
    "status": {
        "containerStatuses": [
            {
                "name": "main",
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"containerID": "kubeshim://newest"}},
            }
        ]
    },
}


@pytest.mark.parametrize(
    ("file", "value", "said"),
    [
        ("cpu.shares", "256", "as much as 0.25 CPU, when all are busy"),
        ("cpu.cfs_quota_us", "25000", "0.25 CPU at most"),
        ("cpu.cfs_quota_us", "-1", "no limit"),
        ("cpu.max", "150000 100000", "1.5 CPU at most"),
        ("cpu.max", "max 100000", "no limit"),
        ("memory.max", "67108864", "64.0 MiB"),
        ("memory.limit_in_bytes", "9223372036854771712", "no limit"),
        ("memory.events", "0", ""),
        ("pids.max", "max", ""),
    ],
)
def test_numbers_in_words(file: str, value: str, said: str) -> None:
    assert meaning(file, value, {"cpu.cfs_period_us": "100000"}).strip() == said


def test_only_what_is_limited_is_said_of_a_cgroup_around() -> None:
    first = {"cpu.shares": "2048", "cpu.cfs_quota_us": "-1", "memory.limit_in_bytes": "1048576", "pids.max": "max"}
    assert in_words(list(first.items())) == "weighs as much as 2 CPU, when all are busy, memory 1.0 MiB"
    second = {"cpu.weight": "39", "cpu.max": "50000 100000", "memory.max": "max", "pids.max": "7"}
    assert in_words(list(second.items())) == "weight 39, has 0.5 CPU at most, processes 7"


def test_folders_of_one_name_are_written_once() -> None:
    assert folders(["/sys/cpu/a/cpu.shares", "/sys/memory/a/memory.failcnt"]) == "/sys/{cpu,memory}/a"


def test_roles_and_reasons() -> None:
    roles = [role_of(POD, name)[0] for name in ("prepare", "helper", "main", "debugger")]
    assert roles == ["init container", "sidecar", "container", "ephemeral container"]
    assert waiting_of(POD, "main", "newest") == "CrashLoopBackOff: back-off 10s"
    assert waiting_of(POD, "main", "older") == ""
    assert volumes_of(POD, POD["spec"]["containers"][0]) == {"/cfg": "volume v: configMap settings"}


def ended(**exit_: Any) -> Container:
    spec = ContainerSpec("id", "sandbox", "image", ("true",))
    return Container(spec, "image", Path("/c"), 0.0, 0, {"exit_code": 0, **exit_}, [], {}, [], {}, [], [], [])


def test_how_a_container_ended() -> None:
    assert state_of(ended(exit_code=3)) == "exited with 3"
    assert state_of(ended(exit_code=143, signal=15)) == "exited with 143 by signal 15"
    assert "OOMKilled, 137" in state_of(ended(exit_code=137, signal=9, oom_killed=True))
    assert state_of(ended(exit_code=127, message="no such file")).endswith("could not be started[/]: no such file")
