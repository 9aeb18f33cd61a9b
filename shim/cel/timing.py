"""How long did expressions take? Compiled once, run for many objects: of the whole process, for its metrics."""

from __future__ import annotations

from shim.api.timing import USUAL, Histogram

COMPILATION, EVALUATION = Histogram(USUAL), Histogram(USUAL)
