"""Durations as Go writes them: ``1h30m``, ``500ms``."""

from __future__ import annotations

import json
import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError in the words of Go's time.ParseDuration."""
    quoted = json.dumps(text, ensure_ascii=False)
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    total, end = 0.0, 0
    while end < len(rest):
        part = _PART.match(rest, end)
        if part is None:
            break
        number, unit = part.groups()
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {json.dumps(unit, ensure_ascii=False)} in duration {quoted}")
        total += float(number) * _UNITS[unit]
        end = part.end()
    if not rest or end < len(rest) or total > 2**63 / 1e9:
        raise ValueError(f"time: invalid duration {quoted}")
    return -total if text.startswith("-") else total


def go_duration(seconds: float) -> str:
    """As Go prints it: ``1.5s``, ``704.647423ms``, ``48.1µs``, ``1m0.25s``."""
    nanos = round(seconds * 1e9)
    for size, unit in ((1, "ns"), (1_000, "µs"), (1_000_000, "ms")):
        if abs(nanos) < 1000 * size:
            return f"{_decimal(nanos, size)}{unit}" if nanos else "0s"
    minutes, rest = divmod(nanos, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    before = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{before}{_decimal(rest, 10**9)}s"


def _decimal(nanos: int, size: int) -> str:
    whole, rest = divmod(nanos, size)
    return f"{whole}.{str(rest).zfill(len(str(size)) - 1)}".rstrip("0").rstrip(".") if rest else str(whole)
