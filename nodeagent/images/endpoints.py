"""Where is a registry to be asked? At its own address, unless ``registries.json`` beside the images says otherwise:

{"docker.io": {"endpoints": ["http://mirror.local:5000", "https://registry-1.docker.io"]},
 "registry.local:5000": {"skipVerify": true}}

Endpoints are asked in their order until one has the image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from nodeagent.engine.contract import EngineError

FILE = "registries.json"
_OWN = {"docker.io": "registry-1.docker.io"}


class Endpoint(NamedTuple):
    url: str  # without a slash at its end
    verify: bool = True  # whether its certificate must be good


def endpoints(domain: str, folder: Path) -> list[Endpoint]:
    """Raises EngineError when the file says nothing that can be understood."""
    told = _told(folder / FILE).get(domain) or {}
    own = f"{'http' if _on_this_machine(domain) else 'https'}://{_OWN.get(domain, domain)}"
    urls = told.get("endpoints")
    listed = urls if isinstance(urls, list) else [own]
    return [Endpoint(str(url).rstrip("/"), not told.get("skipVerify")) for url in listed]


def _on_this_machine(domain: str) -> bool:
    host = domain.partition(":")[0]
    return host == "localhost" or host.startswith("127.")


def _told(path: Path) -> dict[str, dict[str, object]]:
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EngineError(f"{path}: {error}") from None
    if not isinstance(told, dict) or not all(isinstance(entry, dict) for entry in told.values()):
        raise EngineError(f"{path}: expected an object with an object for each registry")
    return told
