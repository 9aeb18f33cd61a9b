"""The controller manager: loops that compare what is with what is wanted, and act. See ``table`` for which."""

from shim.controllers.table import run

__all__ = ["run"]
