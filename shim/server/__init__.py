"""The API server: generic REST over the store. ``run`` serves; ``prepare`` makes what it needs on disk."""

from shim.server.app import prepare, run

__all__ = ["prepare", "run"]
