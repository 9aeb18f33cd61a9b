"""How long did expressions take? Compiled once, run for many objects: of the whole process, for its metrics."""

from __future__ import annotations

from shim.api.timing import Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
COMPILATION, EVALUATION = Histogram(_SECONDS), Histogram(_SECONDS)
