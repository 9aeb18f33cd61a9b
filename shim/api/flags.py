"""Settings as dataclasses that the command line is made from: a flag, its default and its help stand in one place."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def flag(help: str, default: Any = ...) -> Any:
    """A dataclass field: its name becomes ``--name``, ``help`` its help text; without a default it is required."""
    metadata = {"help": help}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)
