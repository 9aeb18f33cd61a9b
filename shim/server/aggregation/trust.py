"""Why does an extension server believe us about who asks? It reads in a ConfigMap what to check.

https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/: it takes the user from the headers of
whoever shows a certificate that the front proxy's CA signed for one of the allowed names, and from nobody else.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import orjson

from shim import pki
from shim.api.meta import Object
from shim.server import following
from shim.server.aggregation.identity import EXTRA, GROUP, UID, USER
from shim.server.bootstrap import born, create
from shim.store.cache import Cache
from shim.store.contract import Conflict

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
KEY = f"/registry/configmaps/{NAMESPACE}/{NAME}"


def config_map(data_dir: Path) -> Object:
    directory = data_dir / "pki"
    lists = {
        "requestheader-allowed-names": [pki.FRONT_PROXY.user],
        "requestheader-username-headers": [USER],
        "requestheader-uid-headers": [UID],
        "requestheader-group-headers": [GROUP],
        "requestheader-extra-headers-prefix": [EXTRA],
    }
    data = {
        "client-ca-file": (directory / f"{pki.CA}.crt").read_text(),
        "requestheader-client-ca-file": (directory / f"{pki.FRONT_PROXY_CA}.crt").read_text(),
        **{name: orjson.dumps(names).decode() for name, names in lists.items()},
    }
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data}


async def keep(cache: Cache, data_dir: Path) -> None:
    """Until cancelled: whoever changes or deletes the ConfigMap gets it back."""
    settle = partial(_publish, cache, config_map(data_dir))
    await following.keep(cache, KEY, settle, "publishing whom extension servers may believe")


async def _publish(cache: Cache, wanted: Object) -> None:
    """Bring the ConfigMap up to date; what others have added stays. Raises StoreError."""
    entry = cache.get(KEY)
    if entry is None:
        await create(cache, KEY, born(wanted, NAMESPACE))
        return
    present = entry.decode()
    data = {**(present.get("data") or {}), **wanted["data"]}
    if data != present.get("data"):
        try:
            await cache.update(KEY, {**present, "data": data}, expected=entry.revision)
        except Conflict:
            pass  # another server with the same certificates was quicker
