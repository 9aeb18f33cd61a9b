"""What does the engine know of one container, and how does it hear from the container's monitor?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from nodeagent.engine import monitor, records
from nodeagent.engine.channel import Channel
from nodeagent.engine.contract import ContainerSpec, ContainerState, EngineError, StartFailed

log = logging.getLogger(__name__)

LOST = 255  # exit code where nobody saw the end: the machine or the monitor went down with it


class Container:
    """One container. ``changed`` is called after each start and exit."""

    def __init__(
        self,
        spec: ContainerSpec,
        image: str,
        created_at: float,
        cgroup: str,
        directory: Path,
        socket: Path,
        changed: Callable[[Container], None],
    ) -> None:
        self.spec = spec
        self.image = image  # its id
        self.created_at = created_at
        self.cgroup = cgroup
        self.directory = directory
        self.socket = socket
        self._changed = changed
        self.started: dict[str, Any] | None = None
        self.exit: dict[str, Any] | None = None
        self._channel: Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self._progress = asyncio.Event()  # started or exited
        self._exited = asyncio.Event()

    @property
    def watched(self) -> bool:
        """Whether a start has been asked for."""
        return self._task is not None

    @property
    def phase(self) -> Literal["created", "running", "exited"]:
        if self.exit is not None:
            return "exited"
        return "running" if self.started is not None else "created"

    @property
    def state(self) -> ContainerState:
        started, exit_ = self.started or {}, self.exit or {}
        return ContainerState(
            id=self.spec.id,
            sandbox=self.spec.sandbox,
            image=self.image,
            phase=self.phase,
            labels=self.spec.labels,
            pid=started.get("pid", 0) if self.phase == "running" else 0,
            created_at=self.created_at,
            started_at=started.get("started_at") or exit_.get("started_at", 0.0),
            finished_at=exit_.get("finished_at", 0.0),
            exit_code=exit_.get("exit_code", 0),
            signal=exit_.get("signal", 0),
            oom_killed=exit_.get("oom_killed", False),
            message=exit_.get("message", ""),
            user=_user(started.get("user")),
        )

    def take_up(self) -> None:
        """Find out from the files what became of a container that an earlier agent made."""
        self.started = records.read(self.directory / monitor.STARTED)
        (self.started or {}).pop("steps", None)  # of no use here
        exit_ = records.read(self.directory / monitor.EXIT)
        if exit_ is None and (self.directory / monitor.BEGUN).exists():
            try:
                self.watch(Channel.open(str(self.socket)))
                return
            except OSError:  # the monitor has gone; perhaps it ended just now
                exit_ = records.read(self.directory / monitor.EXIT) or self._lost()
        if exit_ is not None:
            self._end(exit_)

    def watch(self, channel: Channel) -> None:
        """Listen to the monitor at the other end of ``channel``."""
        self._channel = channel
        self._task = asyncio.create_task(self._watch(channel))

    async def _watch(self, channel: Channel) -> None:
        message = ""
        while packet := await channel.receive():
            body = packet.body
            if "started" in body:
                if self.started is not None:  # known from started.json
                    continue
                self.started = body["started"]
                self._progress.set()
                self._changed(self)
            elif "failed" in body:
                message = body["failed"]
            elif "exited" in body:
                self._end(body["exited"])
                break
        else:
            self._end(records.read(self.directory / monitor.EXIT) or self._lost(message))
        channel.close()
        self._channel = None

    def _lost(self, message: str = "") -> dict[str, Any]:
        record = {
            "exit_code": 128 if message else LOST,
            "signal": 0,
            "oom_killed": False,
            "message": message,
            "started_at": self.started["started_at"] if self.started else 0.0,
            "finished_at": time.time(),
        }
        records.write(self.directory / monitor.EXIT, record)
        return record

    def _end(self, exit_: dict[str, Any]) -> None:
        self.exit = exit_
        self._progress.set()
        self._exited.set()
        self._changed(self)

    async def wait_started(self) -> None:
        """Until it runs. Raises StartFailed."""
        await self._progress.wait()
        if self.started is None and self.exit is not None:
            raise StartFailed(self.exit["message"] or "the container's monitor was lost", self.exit["exit_code"])

    async def wait_exited(self, timeout: float | None = None) -> bool:
        """Whether it ended within ``timeout``."""
        try:
            async with asyncio.timeout(timeout):
                await self._exited.wait()
        except TimeoutError:
            return False
        return True

    def signal(self, number: int) -> None:
        """Its monitor delivers it: being the parent it can mistake no other process for the container."""
        if self._channel is not None:
            with contextlib.suppress(EngineError, OSError):
                self._channel.send({"op": "kill", "signal": number})

    def connect(self) -> Channel:
        """A further connection to the monitor. Raises EngineError when it does not run."""
        try:
            if self.phase == "running":
                return Channel.open(str(self.socket))
        except OSError:
            pass
        raise EngineError("container is not running")

    async def close(self) -> None:
        """Stop listening; the container runs on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _user(told: list[Any] | None) -> tuple[int, int, tuple[int, ...]] | None:
    return (told[0], told[1], tuple(told[2])) if told else None


def signal_number(name: str) -> int:
    """``SIGTERM``, ``TERM``, ``15``; real-time signals as ``SIGRTMIN+3``."""
    text = name.upper().removeprefix("SIG")
    if text.isdigit():
        return int(text)
    base, _, offset = text.partition("+")
    try:
        return int(signal.Signals[f"SIG{base}"]) + int(offset or 0)
    except (KeyError, ValueError):
        return int(signal.SIGTERM)
