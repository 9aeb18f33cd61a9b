"""A pod's imagePullSecrets: what they hold for its images."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence

from nodeagent.images import reference
from nodeagent.images.credentials import Credential, fitting, of_config
from nodeagent.kubelet.errors import ConfigError
from shim.api.meta import Object

KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


async def credentials(
    pod: Object, image: str, secret: Callable[[str], Awaitable[Object]], missing: Callable[[str], None]
) -> Sequence[Credential]:
    """Those that fit the image. ``missing`` is called with the names of Secrets that cannot be had, if any."""
    known: list[tuple[str, Credential]] = []
    lacking = []
    for told in pod["spec"].get("imagePullSecrets") or ():
        try:
            known += of_secret(await secret(told["name"]))
        except ConfigError:
            lacking.append(told["name"])
    if lacking:
        missing(", ".join(lacking))
    return fitting(known, reference.parse(image))


def of_secret(secret: Object) -> list[tuple[str, Credential]]:
    """What a Secret says of registries; nothing where it is of another type or cannot be read."""
    told = (secret.get("data") or {}).get(KEYS.get(secret.get("type") or "", ""))
    try:
        config = json.loads(base64.b64decode(told or ""))
    except (binascii.Error, ValueError):
        return []
    meta = secret.get("metadata") or {}
    origin = "/".join(str(meta.get(key) or "") for key in ("namespace", "name", "uid"))
    found = of_config(config) if isinstance(config, dict) else []
    return [(key, credential._replace(origin=origin)) for key, credential in found]
