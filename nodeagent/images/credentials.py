"""Who may pull an image? The credentials of a Docker configuration that fit its name, the closest first. Pure.

A configuration is what ``docker login`` writes, ``{"auths": {"registry.local:5000/team": {"auth": "..."}}}``, or what
stands below ``auths`` by itself (the older ``.dockercfg``). A key is a host, where ``*`` stands for a part between
dots, with an optional port and the beginning of a path.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nodeagent.images.reference import Reference

_HUB = ("index.docker.io", "registry-1.docker.io")  # other names of docker.io


class Credential(NamedTuple):
    """A name and its password; ``token`` is one that can be exchanged for others instead.

    ``origin`` tells where it is kept, ``namespace/name/uid`` of a Secret; "" is one that the node has for all its pods.
    """

    username: str = ""
    password: str = ""
    token: str = ""
    origin: str = ""


def of_config(config: Mapping[str, Any]) -> list[tuple[str, Credential]]:
    """Every key of a configuration with its credential; what cannot be read is left out."""
    auths = config.get("auths", config)
    found = []
    for key, entry in auths.items() if isinstance(auths, Mapping) else ():
        if isinstance(entry, Mapping) and (credential := _credential(entry)):
            found.append((key, credential))
    return found


def _credential(entry: Mapping[str, Any]) -> Credential | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(str(entry["auth"])).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if not colon:
            return None
    credential = Credential(username, password.rstrip("\0"), str(entry.get("identitytoken") or ""))
    return credential if any(credential[:3]) else None


def fitting(known: Iterable[tuple[str, Credential]], image: Reference) -> list[Credential]:
    """Those for this image: of the longest key first, in the order they came otherwise."""
    found = [(key, credential) for key, credential in known if _fits(key, image)]
    found.sort(key=lambda pair: len(_plain(pair[0])), reverse=True)
    return list(dict.fromkeys(credential for _, credential in found))


def _plain(key: str) -> str:
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    for version in ("/v1", "/v2"):
        bare = bare.removesuffix(version)
    host, slash, path = bare.partition("/")
    return ("docker.io" if host in _HUB else host) + slash + path


def _fits(key: str, image: Reference) -> bool:
    host, _, path = _plain(key).partition("/")
    if path and not (image.path == path or image.path.startswith(f"{path}/")):
        return False
    wanted, known = image.domain.split("."), host.split(".")
    return len(wanted) == len(known) and all(map(fnmatch.fnmatchcase, wanted, known))
