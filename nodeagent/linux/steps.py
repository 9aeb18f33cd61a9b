"""What was done, step by step: when, for how long, and what one would type in a shell to do the same.

Steps are data, kept beside what they made; ``shim explain pod/NAME --steps`` shows them. A command is the same step by
other means: not what ran, which is a system call.
"""

from __future__ import annotations

import shlex
import time
from types import TracebackType
from typing import Any

quote = shlex.quote


class Steps:
    """A list in the making: ``with steps("pivot_root", "pivot_root . ."): ...`` adds one when it ends well."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []  # {"what", "at" (seconds since the epoch), "ms", "shell": [...]}

    def happened(self, what: str, *shell: str) -> None:
        """Something that took no time of ours."""
        self.taken.append({"what": what, "at": time.time(), "ms": 0.0, "shell": list(shell)})

    def __call__(self, what: str, *shell: str) -> _Step:
        return _Step(self, what, shell)


class _Step:
    __slots__ = ("_at", "_began", "_shell", "_steps", "_what")

    def __init__(self, steps: Steps, what: str, shell: tuple[str, ...]) -> None:
        self._steps, self._what, self._shell = steps, what, shell

    def commands(self, lines: list[str]) -> None:
        """What is known only once it is done."""
        self._shell = tuple(lines)

    def __enter__(self) -> None:
        self._at, self._began = time.time(), time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            took = round((time.perf_counter() - self._began) * 1000, 3)
            self._steps.taken.append({"what": self._what, "at": self._at, "ms": took, "shell": list(self._shell)})
