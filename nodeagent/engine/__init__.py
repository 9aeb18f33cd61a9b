"""Containers from system calls. ``contract.py`` says what it takes and gives; reading starts at ``engine.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodeagent.engine.engine import Engine, teardown_node

__all__ = ["Engine", "teardown_node"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the zygote imports modules of this package, and must not carry asyncio into containers.
    if name in __all__:
        from nodeagent.engine import engine

        return getattr(engine, name)
    raise AttributeError(name)
