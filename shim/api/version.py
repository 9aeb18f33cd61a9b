"""Which Kubernetes this is."""

from __future__ import annotations

RELEASE = "0.1.0"
"""Of kubeshim itself."""

MAJOR = 1
MINOR = 36
"""The served API is that of Kubernetes v1.36: schemas, defaults and messages follow it."""
GIT_VERSION = f"v{MAJOR}.{MINOR}.2+shim"
