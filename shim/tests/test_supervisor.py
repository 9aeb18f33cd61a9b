"""The supervisor's promises, with real processes: parts start side by side, come back when killed, end when told."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.supervisor import Part, Ready, Supervisor

pytestmark = pytest.mark.forks


async def serves(ready: Ready) -> None:
    print("serving", flush=True)
    ready()
    await asyncio.Event().wait()


async def dies_once(ready: Ready, marker: Path) -> None:
    if not marker.exists():
        marker.touch()
        raise RuntimeError("the first time always fails")
    await serves(ready)


async def dies_at_once(ready: Ready) -> None:
    raise RuntimeError("always fails")


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[list[Part]], tuple[int, int]]]:
    """Run a supervisor in a process of its own; gives its pid and the pipe its progress is written to."""
    pids: list[int] = []

    def start(parts: list[Part]) -> tuple[int, int]:
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(readable)
            try:  # whatever happens, this copy of the tests goes no further
                supervisor = Supervisor(tmp_path / "run", tmp_path / "logs", parts)
                supervisor.run(
                    lambda name, seconds: os.write(writable, f"{name} {seconds is not None}\n".encode()) and None
                )
            finally:
                os._exit(0)
        os.close(writable)
        pids.append(pid)
        return pid, readable

    yield start
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def status(tmp_path: Path) -> dict[str, dict[str, object]]:
    parts = json.loads((tmp_path / "run" / "status.json").read_text())["parts"]
    return {part["name"]: part for part in parts}


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "did not happen in 60 s"
        time.sleep(0.01)


def test_every_part_becomes_ready_and_all_end_with_the_supervisor(supervise, tmp_path: Path) -> None:
    pid, progress = supervise([Part("one", serves), Part("two", serves)])
    with open(progress) as lines:
        assert {next(lines), next(lines)} == {"one True\n", "two True\n"}
    children = [int(str(part["pid"])) for part in status(tmp_path).values()]
    assert "serving" in (tmp_path / "logs" / "one.log").read_text()
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert not (tmp_path / "run" / "supervisor.pid").exists()


def test_a_full_disk_keeps_nobody_from_starting_again(supervise, monkeypatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)  # where the supervisor tells of deaths
        pid, progress = supervise([Part("one", dies_at_once)])
        with open(progress) as lines:
            assert [next(lines) for _ in range(2)] == ["one False\n", "one False\n"]
        os.kill(pid, 0)


def test_a_killed_part_is_started_again_and_the_other_left_alone(supervise, tmp_path: Path) -> None:
    _, progress = supervise([Part("one", serves), Part("two", serves)])
    with open(progress) as lines:
        next(lines), next(lines)
        before = status(tmp_path)
        os.kill(int(str(before["one"]["pid"])), signal.SIGKILL)
        assert next(lines) == "one False\n"
        assert next(lines) == "one True\n"
    after = status(tmp_path)
    assert after["one"]["restarts"] == 1
    assert after["one"]["pid"] != before["one"]["pid"]
    assert after["two"]["pid"] == before["two"]["pid"]


def test_a_part_that_fails_leaves_its_reason_in_its_log(supervise, tmp_path: Path) -> None:
    _, progress = supervise([Part("shaky", lambda ready: dies_once(ready, tmp_path / "marker"))])
    with open(progress) as lines:
        assert next(lines) == "shaky False\n"
        assert next(lines) == "shaky True\n"
    assert "the first time always fails" in (tmp_path / "logs" / "shaky.log").read_text()


def test_parts_die_with_a_supervisor_that_is_killed(supervise, tmp_path: Path) -> None:
    pid, progress = supervise([Part("one", serves)])
    with open(progress) as lines:
        next(lines)
    child = int(str(status(tmp_path)["one"]["pid"]))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    eventually(lambda: not Path(f"/proc/{child}").exists())
