"""Images: their names, archives, unpacked layers, and two made from what the node has. Start at ``store.py``."""

from __future__ import annotations

from nodeagent.images.builtin import build_busybox
from nodeagent.images.store import Images

__all__ = ["Images", "build_busybox"]
