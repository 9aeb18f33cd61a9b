"""What the engine holds, sorted by pod: every worker reads its own part, engine events keep it current.

It is filled once at the start, so an agent that starts anew sees what runs as if it had started it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from nodeagent.engine.contract import ContainerState, Engine, SandboxState
from nodeagent.kubelet import names
from nodeagent.kubelet.clock import Clock
from nodeagent.kubelet.observed import Run, run_of

MESSAGE_LIMIT = 4096  # bytes of a termination message; of the log's end 2048, as upstream
LOG_LIMIT, LOG_LINES = 2048, 80


class Inventory:
    """Sandboxes and containers by the uid of their pod."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sandboxes: dict[str, dict[str, SandboxState]] = {}
        self._containers: dict[str, dict[str, ContainerState]] = {}
        self._messages: dict[str, str] = {}
        self._ended: dict[str, float] = {}  # when each container did, by the clock that never jumps

    async def fill(self, engine: Engine) -> None:
        for sandbox in await engine.sandboxes():
            self.put_sandbox(sandbox)
        for container in await engine.containers():
            self.put_container(container)

    async def follow(self, events: AsyncIterator[ContainerState], changed: Callable[[str], None]) -> None:
        """Take in each event and name the pod it is about; until cancelled."""
        async for state in events:
            changed(self.put_container(state))

    def pods(self) -> set[str]:
        return {*self._sandboxes, *self._containers}

    def ready_sandboxes(self) -> set[str]:
        return {state.id for found in self._sandboxes.values() for state in found.values() if state.ready}

    def put_sandbox(self, state: SandboxState) -> None:
        self._sandboxes.setdefault(state.labels.get(names.POD_UID, ""), {})[state.id] = state

    def put_container(self, state: ContainerState) -> str:
        """Keep the newest state; an exit is never taken back by a late report that it runs."""
        uid = state.labels.get(names.POD_UID, "")
        known = self._containers.setdefault(uid, {})
        before = known.get(state.id)
        if before is None or before.phase != "exited" or state.phase == "exited":
            known[state.id] = state
            if state.phase == "exited" and state.id not in self._ended:
                self._ended[state.id] = self._clock.at(state.finished_at)
        return uid

    def drop_sandbox(self, uid: str, sandbox: str) -> None:
        self._sandboxes.get(uid, {}).pop(sandbox, None)

    def drop_container(self, uid: str, container: str) -> None:
        self._containers.get(uid, {}).pop(container, None)
        self._forget(container)

    def drop_pod(self, uid: str) -> None:
        self._sandboxes.pop(uid, None)
        for container in self._containers.pop(uid, {}):
            self._forget(container)

    def _forget(self, container: str) -> None:
        self._messages.pop(container, None)
        self._ended.pop(container, None)

    def sandboxes(self, uid: str) -> list[SandboxState]:
        """Newest first."""
        found = self._sandboxes.get(uid, {}).values()
        return sorted(found, key=lambda state: (state.created_at, _attempt(state)), reverse=True)

    def containers(self, uid: str) -> list[ContainerState]:
        return list(self._containers.get(uid, {}).values())

    def running(self) -> list[ContainerState]:
        """Of every pod."""
        return [state for found in self._containers.values() for state in found.values() if state.phase == "running"]

    def runs(self, uid: str) -> dict[str, tuple[Run, ...]]:
        """Every life of each container, newest first."""
        found: dict[str, list[Run]] = {}
        for state in self._containers.get(uid, {}).values():
            run = run_of(state, self._message(state), self._ended.get(state.id, 0.0))
            found.setdefault(run.name, []).append(run)
        return {
            name: tuple(sorted(runs, key=lambda run: (run.attempt, run.created_at), reverse=True))
            for name, runs in found.items()
        }

    def _message(self, state: ContainerState) -> str:
        if state.phase != "exited":
            return ""
        if state.id not in self._messages:
            self._messages[state.id] = termination_message(state)
        return self._messages[state.id]


def _attempt(state: SandboxState) -> int:
    return int(state.labels.get(names.SANDBOX_ATTEMPT) or 0)


def termination_message(state: ContainerState) -> str:
    """What a container left to say: its message file, or the end of its log if it failed and policy allows."""
    labels = state.labels
    text = _tail(labels.get(names.CONTAINER_MESSAGE_PATH, ""), MESSAGE_LIMIT, from_start=True)
    if not text and state.exit_code and labels.get(names.CONTAINER_MESSAGE_POLICY) == "FallbackToLogsOnError":
        lines = _tail(labels.get(names.CONTAINER_LOG, ""), 4 * LOG_LIMIT).splitlines()[-LOG_LINES:]
        text = "".join(_said(line) for line in lines)[-LOG_LIMIT:]
    return text


def _said(line: str) -> str:
    """What the container wrote, of a line in CRI's format: time, stream, tag, text. Only full lines (F) end."""
    _, _, tag, text = [*line.split(" ", 3), "", "", "", ""][:4]
    return text if tag == "P" else text + "\n" if tag else ""


def _tail(path: str, limit: int, *, from_start: bool = False) -> str:
    try:
        with Path(path).open("rb") as file:
            if not from_start:
                file.seek(max(0, file.seek(0, 2) - limit))
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""
