"""What has to be there before a sandbox or a container can start? Folders, records, cgroups with their limits."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nodeagent.engine import records, requests
from nodeagent.engine.contract import ContainerSpec, Device, EngineError, ImageStore, Mount, Resources, SandboxSpec
from nodeagent.linux import cgroups, seccomp_profile
from nodeagent.linux.cgroups import Cgroups
from nodeagent.linux.steps import Steps

PROGRAM = "seccomp.bpf"  # in a container's folder


class Preparation:
    """``root`` is the cgroup of all that the engine makes.

    What a sandbox or container needs is made by a few short calls, on files in memory and in the page cache. For one
    that starts ``alone`` that is no work for a thread: the way there and back takes longer. Of a crowd each waits for
    the others in the kernel (for the lock of all cgroups), where the loop must not wait.
    """

    def __init__(self, root: str, cgroups_: Cgroups, images: ImageStore) -> None:
        self._root, self._cgroups, self._images = root, cgroups_, images

    def node(self) -> None:
        """What pods need that no pod brings. Raises OSError."""
        self._cgroups.create(self.aside)
        self._cgroups.restrict_devices(self.aside)  # whoever is there may look into containers' files already

    @property
    def aside(self) -> str:
        """Of processes that are not their containers' yet."""
        return self.cgroup("starting")

    async def sandbox(self, spec: SandboxSpec, run: Path, record: Path, step: Steps, *, alone: bool) -> None:
        """Its record, cgroups and folder under /run."""
        if alone:
            self._sandbox(spec, run, record, step)
        else:
            await asyncio.to_thread(self._sandbox, spec, run, record, step)

    def _sandbox(self, spec: SandboxSpec, run: Path, record: Path, step: Steps) -> None:
        record.parent.mkdir(exist_ok=True, mode=0o700)
        records.write(record, {"spec": records.spec_json(spec), "made": {}})  # first: what follows can be found by it
        self._make(self.cgroup(spec.cgroup), spec.resources, step)
        if spec.share_pid:
            self._cgroups.create(self.pause_cgroup(spec))
        run.mkdir(exist_ok=True, mode=0o700)
        shm = run / "shm"
        shm.mkdir(exist_ok=True)
        shm.chmod(0o1777)

    async def container(self, spec: ContainerSpec, directory: Path, record: dict[str, Any], *, alone: bool) -> None:
        """Its folder and cgroup, its images held; on failure nothing is left. Raises EngineError, OSError."""
        if alone:
            try:
                self._container(spec, directory, record, wait=False)
                return
            except BlockingIOError:  # somebody imports or collects images, which may take long
                pass
        await asyncio.to_thread(self._container, spec, directory, record, wait=True)

    def _container(self, spec: ContainerSpec, directory: Path, record: dict[str, Any], *, wait: bool) -> None:
        step = Steps()
        try:
            (directory / "rootfs").mkdir(parents=True, exist_ok=True)
            if spec.seccomp_profile:
                with step(f"compile the profile {spec.seccomp_profile}"):
                    (directory / PROGRAM).write_bytes(_compiled(spec.seccomp_profile))
            with step("hold the image, so that it stays"):
                self._images.use(record["image"], str(directory), wait=wait)
            for mount in images_in(spec):
                scratch = requests.scratch_of(mount, directory)
                scratch.mkdir(exist_ok=True)
                self._images.use(mount.source, str(scratch), wait=wait)
            self._make(record["cgroup"], spec.resources, step)
            if not spec.privileged:
                with step("let it use no devices but the harmless ones"):
                    self._cgroups.restrict_devices(record["cgroup"], [_rule(device) for device in spec.devices])
            records.write(directory / "spec.json", {**record, "steps": step.taken})
        except BaseException:
            self._cgroups.remove(record["cgroup"])
            shutil.rmtree(directory, ignore_errors=True)
            self.undone(spec, directory)
            raise

    def undone(self, spec: ContainerSpec, directory: Path) -> None:
        """The container's folder is gone: it holds no image any more."""
        for folder in (directory, *(requests.scratch_of(mount, directory) for mount in images_in(spec))):
            self._images.release(str(folder))

    def cgroup(self, *parts: str) -> str:
        return "/".join([self._root, *(part.strip("/") for part in parts)])

    def pause_cgroup(self, spec: SandboxSpec) -> str:
        """Of the first process of a shared pid namespace; version 2 wants processes in leaves only."""
        return self.cgroup(spec.cgroup, f"pause-{spec.id}")

    def _make(self, path: str, resources: Resources, step: Steps) -> None:
        limits = asdict(resources)
        pages = limits.pop("huge_pages")
        try:
            with step("a cgroup with limits", *self._cgroups.commands(path, **limits)):
                self._cgroups.create(path)
                self._cgroups.limit(path, **limits)
                if pages is not None:
                    self._cgroups.limit_huge_pages(path, dict(pages))
        except OSError as error:
            raise EngineError(f"limits of cgroup {path}: {error}") from None

    def group(self, path: str, resources: Resources) -> None:
        """A cgroup around those of sandboxes, with these limits. Raises EngineError.

        For a thread, as is ``relimit``: to keep a new limit, the kernel may have to take memory back.
        """
        try:
            self._cgroups.create(path)
        except OSError as error:
            raise EngineError(f"cgroup {path}: {error}") from None
        self.relimit(path, resources)

    def relimit(self, path: str, resources: Resources) -> None:
        """Unlike at the making of a cgroup, what is not limited may have been until now."""
        limits = {
            name: cgroups.UNLIMITED if limit is None and name in ("cpu_quota_us", "memory_limit") else limit
            for name, limit in asdict(resources).items()
            if name != "huge_pages"  # which nobody changes
        }
        try:
            self._cgroups.limit(path, **limits)
        except OSError as error:
            raise EngineError(f"limits of cgroup {path}: {error}") from None


def _rule(device: Device) -> str:
    """What may be done with it, as cgroups say it. Raises EngineError."""
    try:
        status = os.stat(device.source)
    except OSError as error:
        raise EngineError(f"error gathering device information: {device.source}: {error.strerror}") from None
    kinds = {stat.S_IFBLK: "b", stat.S_IFCHR: "c"}
    if (kind := kinds.get(stat.S_IFMT(status.st_mode))) is None:
        raise EngineError(f"error gathering device information: {device.source} is not a device node")
    access = "rm" if device.readonly else "rwm"
    return f"{kind} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)} {access}"


def _compiled(profile: str) -> bytes:
    """The program of the profile in a file. Raises EngineError."""
    try:
        return seccomp_profile.compiled(Path(profile).read_text())
    except OSError as error:
        raise EngineError(f'cannot load seccomp profile "{profile}": {error.strerror}') from None
    except ValueError as error:
        raise EngineError(f'cannot load seccomp profile "{profile}": {error}') from None


def program(spec: ContainerSpec, directory: Path) -> str:
    """A container's own filter of system calls, as requests carry it; "" for none."""
    return base64.b64encode((directory / PROGRAM).read_bytes()).decode() if spec.seccomp_profile else ""


def images_in(spec: ContainerSpec) -> list[Mount]:
    """The images it mounts besides its own."""
    return [mount for mount in spec.mounts if mount.kind == "image"]
