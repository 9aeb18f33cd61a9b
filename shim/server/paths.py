"""Paths of requests that are passed on, joined and cleaned as upstream does: no step up, no doubled slash."""

from __future__ import annotations

import posixpath


def join(root: str, path: str) -> str:
    """``path`` below ``root``, cleaned; a trailing slash is kept, and nothing joined to nothing is nothing."""
    joined = "/".join(part for part in (root, path) if part)
    if not joined:
        return ""
    cleaned = posixpath.normpath(joined)
    if cleaned.startswith("//"):  # which POSIX keeps apart
        cleaned = cleaned[1:]
    if path.endswith("/") and not cleaned.endswith("/"):
        cleaned += "/"
    return cleaned
