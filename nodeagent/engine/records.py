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
from dataclasses import fields
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
    body = _fields(spec)
    if isinstance(spec, ContainerSpec):
        body["capabilities"] = sorted(spec.capabilities)
        body["mounts"] = [_fields(mount) for mount in spec.mounts]
        body["devices"] = [_fields(device) for device in spec.devices]
    body["resources"] = _fields(spec.resources)
    body["labels"] = dict(spec.labels)
    return body


def _fields(value: SandboxSpec | ContainerSpec | Resources | Mount | Device) -> dict[str, Any]:
    """The fields as they are: ``asdict`` would copy all that is in them."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _resources(body: Mapping[str, Any]) -> Resources:
    pages = body.get("huge_pages")
    return Resources(**{**body, "huge_pages": None if pages is None else tuple((size, most) for size, most in pages)})


def sandbox_spec(body: Mapping[str, Any]) -> SandboxSpec:
    told = dict(body)
    told["resources"] = _resources(told["resources"])
    told["sysctls"] = tuple((name, value) for name, value in told["sysctls"])
    return SandboxSpec(**told)


def container_spec(body: Mapping[str, Any]) -> ContainerSpec:
    told = dict(body)
    told["resources"] = _resources(told["resources"])
    told["env"] = tuple((name, value) for name, value in told["env"])
    told["mounts"] = tuple(Mount(**mount) for mount in told["mounts"])
    told["devices"] = tuple(Device(**device) for device in told.get("devices", ()))
    told["capabilities"] = frozenset(told["capabilities"])
    for name in ("argv", "groups", "masked_paths", "readonly_paths"):
        told[name] = tuple(told[name])
    return ContainerSpec(**told)
