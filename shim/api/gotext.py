"""Values as Go prints them in messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def go_text(value: Any) -> str:
    """``%v``."""
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)
