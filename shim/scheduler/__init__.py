"""The scheduler: gives every pod a node. See ``loop`` for how, ``filters`` and ``scores`` for which."""

from shim.scheduler.loop import run

__all__ = ["run"]
