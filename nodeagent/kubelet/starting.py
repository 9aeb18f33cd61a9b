"""From a step of the plan to a running container: image, configuration, creation, start, postStart.

The first that fails is what the container waits for, in the words its status shows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nodeagent.engine.contract import ContainerState, EngineError, Image, StartFailed
from nodeagent.engine.contract import ImageMissing as EngineImageMissing
from nodeagent.kubelet import names
from nodeagent.kubelet.actions import kill_container, source_of, whole
from nodeagent.kubelet.containerspec import Surroundings, container_spec
from nodeagent.kubelet.environment import environment, service_variables
from nodeagent.kubelet.errors import ConfigError, HookError
from nodeagent.kubelet.hooks import run_hook
from nodeagent.kubelet.images import ImageMissing
from nodeagent.kubelet.observed import Waiting, last_exited
from nodeagent.kubelet.plan import StartContainer
from nodeagent.kubelet.podstate import PodState
from nodeagent.kubelet.restarts import FIRST_LOOK, LOOK, next_delay
from shim.api.meta import Object


async def start_container(state: PodState, step: StartContainer, sandbox: str) -> bool:
    """Image, configuration, creation, start, postStart; the first that fails is what the container waits for.

    Returns whether none did.
    """
    node, name = state.node, step.name
    found = names.find_container(state.pod, name)
    assert found is not None
    try:
        with state.steps(f"have the images of container {name}"):
            volumes = await _image_volumes(state, found[1])
            image = await _image(state, found[1])
        await node.network.filtered(sandbox)
        async with node.starting:
            around = _surroundings(state, sandbox, volumes)
            run = await _create_and_start(state, step, found[1], image, around)
        state.waiting.pop(name, None)
        if handler := (found[1].get("lifecycle") or {}).get("postStart"):
            with state.steps(f"postStart of container {name}"):
                await _post_start(state, found[1], run, handler)
        state.begun = run
    except _CannotStart as error:
        state.waiting[name] = error.waiting
        node.meters.container_failed(step.kind, error.waiting.reason)
        if state.own_users and not step.attempt:
            node.own_users["failed"] += 1
        return False
    return True


class _CannotStart(Exception):
    def __init__(self, waiting: Waiting) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting


async def _image(state: PodState, container: Object) -> Image:
    """Raises _CannotStart."""

    def tell(type_: str, reason: str, message: str) -> None:
        state.tell(type_, reason, message, container["name"])

    try:
        return await state.images.ensure(container, tell)
    except ImageMissing as missing:
        raise _no_image(state, container, missing) from missing


def _no_image(state: PodState, container: Object, missing: ImageMissing) -> _CannotStart:
    if missing.news:
        state.tell("Warning", "Failed", f"Error: {missing.waiting.reason}", container["name"])
    return _CannotStart(missing.waiting)


async def _image_volumes(state: PodState, container: Object) -> dict[str, str]:
    """The images the container mounts, as ids by the name of the volume. Raises _CannotStart."""
    mounted = {mount["name"] for mount in container.get("volumeMounts") or ()}
    found = {}
    for volume in state.pod["spec"].get("volumes") or ():
        told = volume.get("image")
        if told is None or volume["name"] not in mounted:
            continue
        try:
            policy = told.get("pullPolicy") or "IfNotPresent"
            found[volume["name"]] = (await state.images.fetch(told["reference"], policy, state.tell)).id
        except ImageMissing as missing:
            raise _no_image(state, container, missing) from missing
    return found


async def _create_and_start(
    state: PodState, step: StartContainer, container: Object, image: Image, around: Surroundings
) -> str:
    """The id of the run. Raises _CannotStart."""
    node, name = state.node, step.name

    def tell(type_: str, reason: str, message: str) -> None:
        state.tell(type_, reason, message, name)

    def refused(reason: str, error: Exception) -> _CannotStart:
        tell("Warning", "Failed", f"Error: {error}")
        known = state.waiting.get(name)
        wait = LOOK if known is not None and known.reason == reason else FIRST_LOOK
        return _CannotStart(Waiting(reason, str(error), node.clock.now() + wait))

    lives = node.inventory.runs(state.uid).get(name, ())
    try:
        spec = container_spec(
            state.pod,
            container,
            id=names.new_id(),
            attempt=step.attempt if lives else max(step.attempt, _attempts_logged(state, name)),
            image=image,
            values=await _environment(state, container),
            around=around,
            paths=node.paths,
        )
        _make_files(spec.log_path, spec.labels[names.CONTAINER_MESSAGE_PATH])
    except (ConfigError, OSError) as error:
        raise refused("CreateContainerConfigError", error) from error
    if before := last_exited(lives, step.replaces):
        delay = state.delays.get(name)
        state.delays[name] = next_delay(delay, event_at=before.ended, now=node.clock.now())
    try:
        create = state.steps(f"create container {name}: a folder for its changes, a cgroup")
        with create, node.meters.operation("create_container"):
            made = await whole(node.engine.create_container(spec))
    except EngineImageMissing as error:
        raise refused("ErrImagePull", error) from error
    except (EngineError, OSError) as error:
        raise refused("CreateContainerError", error) from error
    node.inventory.put_container(made)
    state.started_here.add(made.id)
    tell("Normal", "Created", "Container created")
    try:
        with state.steps(f"start container {name}"), node.meters.operation("start_container"):
            node.inventory.put_container(await whole(node.engine.start_container(made.id)))
    except (StartFailed, EngineError) as error:
        node.inventory.put_container(_never_ran(made, error))
        tell("Warning", "Failed", f"Error: {error}")
        raise _CannotStart(Waiting("RunContainerError", str(error))) from error
    tell("Normal", "Started", "Container started")
    node.meters.container_started(step.kind)
    return made.id


async def _post_start(state: PodState, container: Object, run: str, handler: Object) -> None:
    """A container whose postStart fails is killed, and its restart policy tells what then. Raises _CannotStart."""
    node, name = state.node, container["name"]
    try:
        await run_hook(node.engine, node.http, state.pod, container, run, handler, state.address)
    except HookError as error:
        state.tell("Warning", "FailedPostStartHook", "PostStartHook failed", name)
        life = next(life for life in node.inventory.runs(state.uid)[name] if life.id == run)
        if life.phase == "running":
            await kill_container(state, life, float(names.grace_of(state.pod)), "FailedPostStartHook")
        raise _CannotStart(Waiting("PostStartHookError", str(error))) from error


def _never_ran(made: ContainerState, error: EngineError) -> ContainerState:
    code = error.code if isinstance(error, StartFailed) else 128
    return replace(made, phase="exited", exit_code=code, message=str(error), finished_at=time.time())


def _attempts_logged(state: PodState, name: str) -> int:
    """How often the container ran before all else was forgotten: its logs remember."""
    folder = state.node.paths.pod_logs(state.pod) / name
    logged = [int(path.stem) for path in folder.glob("*.log") if path.stem.isdigit()] if folder.is_dir() else []
    return max(logged) + 1 if logged else 0


def _make_files(log_path: str, message_path: str) -> None:
    Path(log_path).parent.mkdir(parents=True, exist_ok=True)
    message = Path(message_path)
    message.parent.mkdir(parents=True, exist_ok=True)
    message.touch()
    message.chmod(0o666)


async def _environment(state: PodState, container: Object) -> dict[str, str]:
    node, spec = state.node, state.pod["spec"]
    if not state.static:  # which need no API server
        await node.services.synced()
    links = spec.get("enableServiceLinks") is not False
    services = service_variables(node.services.list(), state.pod["metadata"]["namespace"], links=links)
    source = source_of(state)
    return await environment(
        state.pod,
        container,
        services=services,
        lookup=source.lookup,
        ip=source.ip,
        host_ip=source.host_ip,
        allocatable=node.allocatable,
    )


def _surroundings(state: PodState, sandbox: str, images: Mapping[str, str]) -> Surroundings:
    node = state.node
    folder = node.paths.pod(state.uid)
    return Surroundings(
        sandbox=sandbox,
        files={
            "/etc/hosts": folder / "etc-hosts",
            "/etc/hostname": folder / "hostname",
            "/etc/resolv.conf": folder / "resolv.conf",
        },
        volumes=state.volumes or {},
        images=images,
        seccomp_default=node.settings.seccomp_default,
        memory_capacity=node.memory_capacity,
        swap=node.swap,
        running={
            name: run.id
            for name, runs in node.inventory.runs(state.uid).items()
            for run in runs
            if run.phase == "running"
        },
    )
