"""What does the engine keep on disk, to find its containers again after a restart?

data_dir/sandboxes/ID/spec.json      the specification, and what came of it
data_dir/containers/ID/spec.json     the specification; image id and time of creation
                      begun.json     a start was tried         (written by its monitor, as all below)
                      started.json   its process
                      exit.json      how it ended
                      upper, work    what it changed in its root file system
run_dir/sandboxes/ID/{net,ipc,uts,pid}   its namespaces; shm, what its containers share as /dev/shm
run_dir/monitors/ID.sock             who watches the container
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nodeagent.engine import wire
from nodeagent.engine.contract import ContainerSpec, Device, EngineError, Mount, Resources, SandboxSpec


def check_id(name: str) -> str:
    """Ids become file names."""
    if not name or "/" in name or name.startswith("."):
        raise EngineError(f"not an id: {name!r}")
    return name


def read(path: Path) -> Any:
    """The JSON in ``path``; None when there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def write(path: Path, body: Any) -> None:
    wire.write_atomically(str(path), body)


def spec_json(spec: SandboxSpec | ContainerSpec) -> dict[str, Any]:
    """A specification as JSON can hold it."""
    body = asdict(spec)
    if isinstance(spec, ContainerSpec):
        body["capabilities"] = sorted(spec.capabilities)
    body["labels"] = dict(spec.labels)
    return body


def _resources(body: Mapping[str, Any]) -> Resources:
    pages = body.get("huge_pages")
    return Resources(**{**body, "huge_pages": None if pages is None else tuple((size, most) for size, most in pages)})


def sandbox_spec(body: Mapping[str, Any]) -> SandboxSpec:
    fields = dict(body)
    fields["resources"] = _resources(fields["resources"])
    fields["sysctls"] = tuple((name, value) for name, value in fields["sysctls"])
    return SandboxSpec(**fields)


def container_spec(body: Mapping[str, Any]) -> ContainerSpec:
    fields = dict(body)
    fields["resources"] = _resources(fields["resources"])
    fields["env"] = tuple((name, value) for name, value in fields["env"])
    fields["mounts"] = tuple(Mount(**mount) for mount in fields["mounts"])
    fields["devices"] = tuple(Device(**device) for device in fields.get("devices", ()))
    fields["capabilities"] = frozenset(fields["capabilities"])
    for name in ("argv", "groups", "masked_paths", "readonly_paths"):
        fields[name] = tuple(fields[name])
    return ContainerSpec(**fields)
