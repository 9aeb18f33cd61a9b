"""The words every part uses for API objects: what an object is, how one is named, where it lives.

Wire objects are plain dictionaries exactly as they travel in JSON. Nothing here does I/O.
"""

from __future__ import annotations

import datetime
import random
import time
from functools import lru_cache
from typing import Any, NamedTuple

Object = dict[str, Any]
"""One API object as JSON: ``{"apiVersion": ..., "kind": ..., "metadata": {...}, ...}``."""


class GVR(NamedTuple):
    """Names a resource as URLs do: ``GVR("apps", "v1", "deployments")``; the core group is ``""``."""

    group: str
    version: str
    resource: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """``deployments.apps``, or ``pods`` in the core group: how Status messages name a resource."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, or of one object, or of its subresource."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.resource, name, subresource) if part]
        return "/".join(parts)


def split_api_version(api_version: str) -> tuple[str, str]:
    """``"apps/v1"`` -> ``("apps", "v1")``; ``"v1"`` -> ``("", "v1")``."""
    group, _, version = api_version.rpartition("/")
    return group, version


def now() -> str:
    """The present as ``metav1.Time`` prints it: UTC, whole seconds."""
    return _printed(int(time.time()))


@lru_cache(maxsize=2)
def _printed(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def now_micro() -> str:
    """The present as ``metav1.MicroTime`` prints it: UTC, six decimals."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime.datetime:
    """Parse RFC 3339 as metav1 writes it; always aware. Raises ValueError."""
    return datetime.datetime.fromisoformat(text)


def new_uid() -> str:
    """A random UUID (RFC 9562, version 4); without asking the kernel each time, which lets other threads in."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def key_of(obj: Object) -> str:
    """``namespace/name``, or ``name`` for a cluster-scoped object: the key of work queues and informers."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def split_key(key: str) -> tuple[str | None, str]:
    """The inverse of :func:`key_of`."""
    namespace, _, name = key.rpartition("/")
    return namespace or None, name


def controller_of(obj: Object) -> Object | None:
    """The owner reference with ``controller: true``, if there is one."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return dict(owner)
    return None
