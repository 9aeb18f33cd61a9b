"""What is true of a pod on this node, as values: the only input of plan and status besides the pod itself.

Runs of a container are kept newest first; the newest tells its state, the one before its last state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from nodeagent.engine.contract import ContainerState, SandboxState
from nodeagent.kubelet import names


@dataclass(frozen=True, slots=True)
class Run:
    """One life of a container."""

    id: str
    name: str
    attempt: int
    phase: Literal["created", "running", "exited"]
    image: str = ""  # as status shows it
    image_id: str = ""
    asked: str = ""  # the image as the spec named it then
    given: str = ""  # the resources it has, as JSON
    sandbox: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    ended: float = 0.0  # the same by the clock that never jumps, by which everybody waits
    exit_code: int = 0
    oom_killed: bool = False
    start_error: str = ""  # why its process never ran
    message: str = ""  # its termination message
    user: tuple[int, int, tuple[int, ...]] | None = None  # id, group and all groups it began with


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container could not be started when last tried."""

    reason: str
    message: str = ""
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of one run say; what has no probe is as good as it can be."""

    started: bool = True
    ready: bool = True
    failed: Literal["", "liveness", "startup"] = ""


@dataclass(frozen=True, slots=True)
class Delay:
    """A back-off: from the end of the last run, wait this long."""

    seconds: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Observed:
    """A pod's sandbox, containers and everything else that decisions rest on."""

    sandbox: SandboxState | None = None  # the newest
    sandboxes: int = 0  # how many there ever were: a sandbox's attempt number
    began: float | None = None  # when the pod did, by the clock that never jumps; None: that was not told yet
    ip: str = ""
    held_back: bool = False  # until those who enforce network policies have read the address in the status
    volumes_ready: bool = False
    runs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    health: Mapping[str, Health] = field(default_factory=dict)  # by run id
    delays: Mapping[str, Delay] = field(default_factory=dict)  # by container name

    def latest(self, name: str) -> Run | None:
        runs = self.runs.get(name)
        return runs[0] if runs else None

    @property
    def sandbox_ready(self) -> bool:
        return self.sandbox is not None and self.sandbox.ready

    @property
    def running(self) -> tuple[Run, ...]:
        """Every run whose process is, or may be, alive."""
        return tuple(run for runs in self.runs.values() for run in runs if run.phase == "running")

    def before_the_end_of(self, run: str) -> Observed | None:
        """As it was while the run with this id was running; None if it still is, or is not known."""
        for name, (newest, *older) in self.runs.items():
            if newest.id == run and newest.phase == "exited":
                return replace(self, runs={**self.runs, name: (replace(newest, phase="running"), *older)})
        return None

    def health_of(self, run: Run) -> Health:
        return self.health.get(run.id, Health())


def last_exited(runs: tuple[Run, ...], but: str = "") -> Run | None:
    """The newest life that is over, ``but`` the one with this id."""
    return next((run for run in runs if run.phase == "exited" and run.id != but), None)


def run_of(state: ContainerState, message: str = "", ended: float = 0.0) -> Run:
    """A run from what the engine says and the labels it kept for us."""
    labels = state.labels
    return Run(
        id=state.id,
        name=labels.get(names.CONTAINER_NAME, ""),
        attempt=int(labels.get(names.CONTAINER_ATTEMPT) or 0),
        phase=state.phase,
        image=labels.get(names.CONTAINER_IMAGE) or state.image,
        asked=labels.get(names.CONTAINER_ASKED) or "",
        given=labels.get(names.CONTAINER_GIVEN) or "",
        image_id=labels.get(names.CONTAINER_IMAGE_ID) or state.image,
        sandbox=state.sandbox,
        created_at=state.created_at,
        started_at=state.started_at,
        finished_at=state.finished_at,
        ended=ended,
        exit_code=state.exit_code,
        oom_killed=state.oom_killed,
        start_error=state.message,
        message=message,
        user=state.user,
    )
