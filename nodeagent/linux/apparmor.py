"""Does this kernel confine programs by AppArmor? See apparmor(7)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_ENABLED = Path("/sys/module/apparmor/parameters/enabled")


@cache
def enabled() -> bool:
    """It was decided when the kernel started."""
    return _ENABLED.is_file() and _ENABLED.read_text().startswith("Y")
