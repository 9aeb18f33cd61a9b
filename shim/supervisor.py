"""Keeps the parts of a cluster running: one forked process each, started side by side, started again when it dies.

Importing everything costs the better part of a second, a fork a few milliseconds: so the supervisor imports once and
forks each part, before it has any thread or event loop of its own. A part tells that it serves through a pipe.
What the supervisor knows stands in ``<run_dir>/status.json``, for ``shim status``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Ready = Callable[[], None]
Run = Callable[[Ready], Awaitable[None]]
Progress = Callable[[str, float | None], None]

YOUNG = 10_000  # objects: at Python's own 700, looking for cycles took a twentieth of what pods that start cost
PR_SET_PDEATHSIG = 1  # prctl(2)
STOP_TIMEOUT = 10.0  # seconds a part has to end after SIGTERM, before SIGKILL
RESTART_DELAY = 0.2  # doubled with every death ...
RESTART_DELAY_MAX = 10.0  # ... up to this
STEADY = 60.0  # a part that ran this long starts again without delay


@dataclass(frozen=True, slots=True)
class Part:
    """One process: its name, and the coroutine that is the whole of its work."""

    name: str
    run: Run
    prepare: Callable[[], None] | None = None
    """Done in the new process before its event loop exists: enter a network namespace."""


@dataclass(slots=True)
class _Process:
    part: Part
    pid: int = 0
    started: float = 0.0
    ready_after: float | None = None
    restarts: int = 0
    delay: float = 0.0
    due: float | None = None  # when to start it again


class Supervisor:
    """Runs parts until it is told to stop by SIGTERM or SIGINT; a part that dies is started again."""

    def __init__(self, run_dir: Path, log_dir: Path, parts: list[Part]) -> None:
        self._run_dir, self._log_dir = run_dir, log_dir
        self._processes = [_Process(part) for part in parts]
        self._selector = selectors.DefaultSelector()
        self._stopping = False

    def run(self, progress: Progress = lambda name, seconds: None) -> None:
        """Start every part and return when all have been stopped.

        ``progress`` is called with a part's name and the seconds it took to become ready, or None when it died.
        """
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        (self._run_dir / "supervisor.pid").write_text(f"{os.getpid()}\n")
        gc.collect()
        gc.freeze()  # what is imported is never collected, so that its pages stay shared with the parts
        with self._signals() as wakeup:
            for process in self._processes:
                self._start(process)
            while not self._stopping:
                self._wait(wakeup, progress)
            self._stop_all()
        (self._run_dir / "supervisor.pid").unlink(missing_ok=True)
        (self._run_dir / "status.json").unlink(missing_ok=True)

    def _wait(self, wakeup: int, progress: Progress) -> None:
        due = [process.due for process in self._processes if process.due is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        for key, _ in self._selector.select(timeout):
            if key.fd == wakeup:
                os.read(wakeup, 512)
                self._reap(progress)
                continue
            process: _Process = key.data
            self._selector.unregister(key.fd)
            if os.read(key.fd, 1):  # empty: it died before it was ready, which _reap sees
                process.ready_after = time.monotonic() - process.started
                progress(process.part.name, process.ready_after)
            os.close(key.fd)
            self._write_status()
        for process in self._processes:
            if process.due is not None and process.due <= time.monotonic() and not self._stopping:
                process.restarts += 1
                self._start(process)

    def _start(self, process: _Process) -> None:
        readable, writable = os.pipe()
        process.started, process.due, process.ready_after = time.monotonic(), None, None
        pid = os.fork()
        if pid == 0:
            os.close(readable)
            for key in list(self._selector.get_map().values()):
                with contextlib.suppress(OSError):
                    os.close(key.fd)
            self._selector.close()
            run_part(process.part, self._log_dir / f"{process.part.name}.log", writable)
        os.close(writable)
        process.pid = pid
        self._selector.register(readable, selectors.EVENT_READ, process)
        self._write_status()

    def _reap(self, progress: Progress = lambda name, seconds: None) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = next((each for each in self._processes if each.pid == pid), None)
            if process is None:
                continue
            process.pid = 0
            if self._stopping:
                continue
            steady = time.monotonic() - process.started > STEADY
            process.delay = RESTART_DELAY if steady else min(max(RESTART_DELAY, process.delay * 2), RESTART_DELAY_MAX)
            process.due = time.monotonic() + process.delay
            code = os.waitstatus_to_exitcode(status)
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            _say(f"{process.part.name} {how}; starting it again in {process.delay:.1f} s")
            progress(process.part.name, None)
            self._write_status()

    def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT
        for process in reversed(self._processes):
            if process.pid:
                os.kill(process.pid, signal.SIGTERM)
        while any(process.pid for process in self._processes):
            self._reap()
            if time.monotonic() > deadline:
                for process in self._processes:
                    if process.pid:
                        _say(f"{process.part.name} did not end in {STOP_TIMEOUT:.0f} s; killing it")
                        os.kill(process.pid, signal.SIGKILL)
                deadline += STOP_TIMEOUT
            time.sleep(0.005)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """Turn signals into bytes on a pipe that the selector watches."""
        readable, writable = os.pipe()
        os.set_blocking(writable, False)
        before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)

        def stop(signum: int, frame: object) -> None:
            self._stopping = True

        handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        self._selector.register(readable, selectors.EVENT_READ)
        try:
            yield readable
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(readable)
            os.close(writable)

    def _write_status(self) -> None:
        now, epoch = time.monotonic(), time.time()
        parts = [
            {
                "name": process.part.name,
                "pid": process.pid,
                "state": "ready" if process.ready_after is not None else "starting" if process.pid else "restarting",
                "restarts": process.restarts,
                "since": epoch - (now - process.started),
                "ready_after": process.ready_after,
            }
            for process in self._processes
        ]
        draft = self._run_dir / "status.json.new"
        with _disk_may_be_full():
            draft.write_text(json.dumps({"supervisor": os.getpid(), "parts": parts}, indent=1))
            draft.replace(self._run_dir / "status.json")


def _disk_may_be_full() -> contextlib.AbstractContextManager[None]:
    """What is said of the parts may be lost, the parts must not: without their supervisor all of them end."""
    return contextlib.suppress(OSError)


def _say(text: str) -> None:
    with _disk_may_be_full():
        print(text, flush=True)


def run_part(part: Part, log: Path | None, ready_fd: int | None) -> None:
    """Be that part: never returns. ``log`` None leaves standard output and error where they are."""
    code = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C in a terminal is for the supervisor, which stops the parts in order
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if log is not None:
            _redirect(log)
        if part.prepare is not None:
            part.prepare()
        serve(part.run, ready_fd)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with _disk_may_be_full():
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # the supervisor's own clean-up, on its stack, is not the part's to do


def serve(run: Run, ready_fd: int | None = None) -> None:
    """Run a part's coroutine on uvloop until it ends, or is cancelled by SIGTERM or SIGINT."""
    import uvloop

    gc.set_threshold(YOUNG)
    logging.basicConfig(
        level=os.environ.get("SHIM_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)

    def ready() -> None:
        nonlocal ready_fd
        if ready_fd is not None:
            os.write(ready_fd, b"1")
            os.close(ready_fd)
            ready_fd = None

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await run(ready)

    uvloop.run(main())


def _redirect(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)
    # line by line, so that a log can be followed; the former objects may hold text that is not this part's
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
