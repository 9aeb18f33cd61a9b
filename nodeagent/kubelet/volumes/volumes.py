"""Every volume of a pod, by name: where it is on the node, making it, refreshing it, taking it away.

What must not reach a disk (secrets, tokens) lives in memory, below the run folder; the rest in the pod's folder.
Making a volume that is there already refreshes it, so a new agent needs no memory of what was made.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from nodeagent.kubelet.errors import ConfigError, MountError
from nodeagent.kubelet.names import Paths, containers_of, uid_of
from nodeagent.kubelet.resources import huge_pages, pod_totals
from nodeagent.kubelet.volumes import atomic, folders
from nodeagent.kubelet.volumes.payloads import Source, payload_of
from nodeagent.linux import libc, mounts
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import Client
from shim.client import resource as r

_ATOMIC = ("configMap", "secret", "downwardAPI", "projected")


class Volumes:
    """The volumes of every pod on this node."""

    def __init__(self, client: Client, paths: Paths, run_dir: Path) -> None:
        self._client = client
        self._paths = paths
        self._memory = run_dir / "volumes"
        for folder in (self._memory, paths.pods):  # secrets, and programs that run as whom a pod says: for nobody else
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        if not mounts.in_memory(str(self._memory)):  # /run is on a disk here, as inside of containers
            libc.mount("tmpfs", str(self._memory), "tmpfs", mounts.NOSUID | mounts.NODEV, "mode=700")
        self._given: set[tuple[str, str]] = set()  # volumes by pod that were given to its fsGroup

    async def mount(self, pod: Object, source: Source) -> tuple[dict[str, Path], float]:
        """Make or refresh every volume: paths by name, and when some must be refreshed. Images have no path here.

        Raises an ExceptionGroup with a MountError for each volume that cannot be made.
        """
        volumes = [volume for volume in pod["spec"].get("volumes") or () if volume.get("image") is None]
        making = (self._mount_one(pod, volume, source) for volume in volumes)
        results = await asyncio.gather(*making, return_exceptions=True)
        if failures := [result for result in results if isinstance(result, Exception)]:
            raise ExceptionGroup("volumes cannot be made", failures)
        made = [result for result in results if not isinstance(result, BaseException)]
        paths = {volume["name"]: path for volume, (path, _) in zip(volumes, made, strict=True)}
        return paths, min((refresh for _, refresh in made if refresh), default=0.0)

    async def _mount_one(self, pod: Object, volume: Object, source: Source) -> tuple[Path, float]:
        name = volume["name"]
        try:
            return await self._make(pod, volume, source)
        except (ConfigError, ValueError, OSError) as error:
            raise MountError(name, str(error)) from error
        except ApiError as error:
            raise MountError(name, error.message) from error

    async def _make(self, pod: Object, volume: Object, source: Source) -> tuple[Path, float]:
        name, uid = volume["name"], uid_of(pod)
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if any(volume.get(kind) is not None for kind in _ATOMIC):
            secret = volume.get("secret") is not None or volume.get("projected") is not None
            path = self._memory / uid / name if secret else self._paths.volume(uid, name)
            files, refresh = await payload_of(volume, source)
            atomic.write(path, files, gid=group)
            return path, refresh
        if (told := volume.get("emptyDir")) is not None:
            path = self._paths.volume(uid, name)
            fresh = not path.exists()
            huge = str(told.get("medium") or "").startswith(folders.HUGE_PAGES)
            sizes = [size for size, _ in huge_pages(pod_totals(pod, "requests"))] if huge else ()
            folders.empty_dir(told, path, sizes)
            if group is not None and fresh:
                folders.give_to_group(path, group)
            return path, 0.0
        if (told := volume.get("hostPath")) is not None:
            return folders.host_path(told), 0.0
        if (told := volume.get("persistentVolumeClaim")) is not None:
            return await self._claimed(pod, name, told["claimName"], readonly=bool(told.get("readOnly"))), 0.0
        if volume.get("ephemeral") is not None:  # its claim is named after the pod
            return await self._claimed(pod, name, f"{pod['metadata']['name']}-{name}"), 0.0
        kinds = ", ".join(key for key in volume if key != "name") or "nothing"
        raise ValueError(f"volumes of kind {kinds} are not built yet")

    async def _claimed(self, pod: Object, name: str, claim_name: str, *, readonly: bool = False) -> Path:
        """What is behind a bound claim: hostPath and local volumes are folders, or devices, of this node."""
        claim = await self._client.get(r.PERSISTENTVOLUMECLAIMS, claim_name, pod["metadata"]["namespace"])
        bound = (claim.get("spec") or {}).get("volumeName")
        if not bound or (claim.get("status") or {}).get("phase") != "Bound":
            raise ValueError(f'persistentvolumeclaim "{claim_name}" is not bound')
        spec = (await self._client.get(r.PERSISTENTVOLUMES, bound))["spec"]
        try:
            return await self._persistent(pod, name, spec, readonly=readonly)
        except (ValueError, OSError) as error:
            raise MountError(bound, str(error)) from error  # messages name the persistent volume

    async def _persistent(self, pod: Object, name: str, spec: Object, *, readonly: bool) -> Path:
        mode = spec.get("volumeMode") or "Filesystem"
        _check_use(pod, name, mode)
        if (told := spec.get("hostPath")) and mode == "Filesystem":
            return folders.host_path(told)
        if told := spec.get("local"):
            if not os.path.exists(told["path"]):
                raise ValueError(f'path "{told["path"]}" does not exist')
            kind = "Directory" if mode == "Filesystem" else "BlockDevice"
            path = folders.host_path({"path": told["path"], "type": kind})
            if mode == "Filesystem" and not readonly:
                await self._give(pod, name, path)
            return path
        raise ValueError("it is neither hostPath nor local, others are not built yet")

    async def _give(self, pod: Object, name: str, path: Path) -> None:
        """What was there before the pod is its group's, once."""
        security = pod["spec"].get("securityContext") or {}
        group, key = security.get("fsGroup"), (uid_of(pod), name)
        if group is None or key in self._given:
            return
        self._given.add(key)
        if security.get("fsGroupChangePolicy") != "OnRootMismatch" or not folders.belongs_to(path, group):
            await asyncio.to_thread(folders.give_to_group, path, group)

    async def unmount(self, uid: str) -> None:
        """Take every volume of the pod away, with what stands in it. Nothing of the node's own paths is touched."""
        self._given -= {key for key in self._given if key[0] == uid}
        await asyncio.to_thread(self._unmount, uid)

    def _unmount(self, uid: str) -> None:
        folder = self._paths.pod(uid) / "volumes"
        if folder.is_dir():  # only such volumes are ever mounted
            folders.unmount_below(folder)
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self._memory / uid, ignore_errors=True)

    def pods_with_volumes(self) -> set[str]:
        """Uids of pods that have anything here, alive or not."""
        places = (self._paths.pods, self._memory)
        return {entry.name for place in places if place.is_dir() for entry in place.iterdir()}


def _check_use(pod: Object, name: str, mode: str) -> None:
    """Raises ValueError when a container mounts what is a device, or takes a folder for one."""
    containers = [container for _, container in containers_of(pod)]
    for key, wanted in (("volumeMounts", "Filesystem"), ("volumeDevices", "Block")):
        used = any(use["name"] == name for container in containers for use in container.get(key) or ())
        if used and mode != wanted:
            raise ValueError(f"volume {name} has volumeMode {mode}, but is specified in {key}")
