"""Doing what a plan says: volumes, sandbox, the stop of containers (``starting.py`` has their start), resizes.

Each failure becomes a reason to wait.

What the engine has begun is always finished, even if the worker is interrupted: a container half made would be
known to nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import TypeVar

from nodeagent.engine.contract import (
    EngineError,
    Resources,
    SandboxSpec,
    SandboxState,
)
from nodeagent.kubelet import identity, names, nodeinfo, resize, resources, sysctls
from nodeagent.kubelet.errors import HookError, MountError
from nodeagent.kubelet.hooks import run_hook
from nodeagent.kubelet.network import HostPort
from nodeagent.kubelet.observed import Observed, Run, Waiting
from nodeagent.kubelet.plan import BackOff
from nodeagent.kubelet.podstate import PodState
from nodeagent.kubelet.restarts import LONG_LOOK, LOOK
from nodeagent.kubelet.volumes.payloads import Source
from shim.api.duration import go_duration
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import resource as r

log = logging.getLogger(__name__)

T = TypeVar("T")

MOUNT_RETRY, LONGEST_MOUNT_RETRY = 0.5, 122.0  # doubles, as upstream's volume operations
SANDBOX_RETRY = 1.0
RESIZE_RETRY = 5.0
LEAST_GRACE = 2.0  # even a forced stop lets a process notice its signal


async def whole(work: Coroutine[object, object, T]) -> T:
    """Finish what was begun, and only then give in to a cancellation."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def source_of(state: PodState) -> Source:
    node, namespace = state.node, state.pod["metadata"]["namespace"]

    async def lookup(kind: str, name: str) -> Object:
        return await node.references.get(state.uid, kind, namespace, name)

    async def token(audience: str, seconds: int) -> tuple[str, float]:
        return await node.tokens.get(state.pod, audience, seconds)

    return Source(state.pod, lookup, token, state.address, node.settings.node_ip, node.allocatable)


async def mount_volumes(state: PodState) -> None:
    """Make the pod's volumes, or say of each why not, and wait longer each time."""
    try:
        with state.steps("make the volumes"):
            state.volumes, state.refresh_at = await state.node.volumes.mount(state.pod, source_of(state))
        state.waiting.pop("", None)
    except* MountError as errors:
        for error in errors.exceptions:
            state.tell("Warning", "FailedMount", str(error))
        failed = int((state.waiting[""].message if "" in state.waiting else "") or 0)
        delay = min(MOUNT_RETRY * 2**failed, LONGEST_MOUNT_RETRY)
        state.waiting[""] = Waiting("", str(failed + 1), state.node.clock.now() + delay)
        if state.volumes is not None:
            state.refresh_at = state.node.clock.now() + delay  # the pod runs on with what it has


def begin_sandbox(state: PodState) -> None:
    """Let the namespaces of a new pod be made while its volumes still wait for the API server.

    Nobody hears of them before ``create_sandbox`` comes to them, of a failure neither.
    """
    if state.making is None:
        state.making = asyncio.create_task(_make(state, 0))


async def _make(state: PodState, attempt: int) -> SandboxState:
    node = state.node
    async with node.starting:
        await node.groups.make_room(resources.qos_class(state.pod))
        await _check_handler(state)
        making = state.steps("make the sandbox: namespaces and a cgroup")
        with making, node.meters.operation("run_podsandbox"):
            return await node.engine.run_sandbox(_sandbox_spec(state, attempt))


async def create_sandbox(state: PodState, attempt: int) -> None:
    """Namespaces and network for the pod; an old sandbox's network goes first."""
    node = state.node
    if not state.pod["spec"].get("hostNetwork"):
        await node.network_up.wait()
    made: SandboxState | None = None
    try:
        if before := node.inventory.sandboxes(state.uid):
            said = "Pod sandbox changed, it will be killed and re-created."
            state.tell_once(before[0].id, "Normal", "SandboxChanged", said)
        for old in before:
            await node.network.detach(old.id)
            await whole(node.engine.stop_sandbox(old.id))
            node.inventory.put_sandbox(replace(old, ready=False))
            await refresh(state)
        state.ip = ""
        if state.own_users:
            node.own_users["started"] += 1
        if state.making is None:
            state.making = asyncio.create_task(_make(state, attempt))
        made = await whole(made_known(state))
        assert made is not None
        await whole(attach(state, made.id, made.netns))
        if not attempt:
            node.meters.pod_started()
        state.waiting.pop("", None)
    except Exception as error:  # whatever the engine or the network met: users see it, and it is tried again
        said = f"Failed to create pod sandbox: {error}"
        state.tell_again(LOOK, said, "Warning", "FailedCreatePodSandBox", said)
        node.meters.pod_failed()
        state.waiting[""] = Waiting("", "", state.node.clock.now() + SANDBOX_RETRY)
        if state.own_users:
            node.own_users["failed"] += 1
        if made is not None:
            await node.network.detach(made.id)
            await whole(node.engine.remove_sandbox(made.id))
            node.inventory.drop_sandbox(state.uid, made.id)
        if not isinstance(error, (EngineError, OSError)):
            log.exception("sandbox of %s", names.pod_text(state.pod))


async def made_known(state: PodState) -> SandboxState | None:
    """The sandbox that is being made, if one is, from here on in the inventory. Raises what kept it from being made."""
    making, state.making = state.making, None
    if making is None:
        return None
    made = await making
    state.node.inventory.put_sandbox(made)
    return made


async def _check_handler(state: PodState) -> None:
    """There is one way to run a pod here, by the name that containerd has for it too. Raises EngineError."""
    if (name := state.pod["spec"].get("runtimeClassName")) and not state.static:
        try:
            handler = (await state.node.client.get(r.RUNTIMECLASSES, name))["handler"]
        except ApiError as error:
            raise EngineError(f'failed to get runtime handler of class "{name}": {error.message}') from error
        if handler not in nodeinfo.HANDLERS:
            why = f'no runtime for "{handler}" is configured'
            raise EngineError(f"rpc error: code = Unknown desc = failed to get sandbox runtime: {why}")


def _sandbox_spec(state: PodState, attempt: int) -> SandboxSpec:
    node, pod, spec = state.node, state.pod, state.pod["spec"]
    if state.own_users and node.engine.no_own_users:  # less than asked for will not do
        why = node.engine.no_own_users
        raise EngineError(f"can't set `spec.hostUsers: false`, runtime does not support user namespaces: {why}")
    hostname, _ = identity.hostname_of(pod, node.settings.cluster_domain, node.settings.node_name)
    wanted = (spec.get("securityContext") or {}).get("sysctls") or ()
    return SandboxSpec(
        id=names.new_id(),
        hostname=hostname,
        cgroup=resources.cgroup_of(pod),
        resources=resources.pod_limits(pod, node.settings.pod_pids_limit if node.settings.pod_pids_limit > 0 else None),
        host_network=bool(spec.get("hostNetwork")),
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        share_pid=bool(spec.get("shareProcessNamespace")),
        own_users=state.own_users,
        sysctls=tuple((sysctls.normal(sysctl["name"]), sysctl["value"]) for sysctl in wanted),
        labels={**names.pod_labels(pod), names.SANDBOX_ATTEMPT: str(attempt)},
    )


async def attach(state: PodState, sandbox: str, netns: str) -> None:
    """Give the sandbox its address (the same again if it has one) and write who it is."""
    node, pod = state.node, state.pod
    if not pod["spec"].get("hostNetwork"):
        ports = tuple(
            HostPort(port["hostPort"], port["containerPort"], port.get("protocol") or "TCP", port.get("hostIP") or "")
            for _, container in names.containers_of(pod)
            for port in container.get("ports") or ()
            if port.get("hostPort")
        )
        wire = state.steps("connect it to the pod network")
        with wire:
            state.ip = await node.network.attach(sandbox, netns, ports)
            wire.commands(node.network.commands(sandbox, netns))
    settings = node.settings
    hostname, domain = identity.hostname_of(pod, settings.cluster_domain, settings.node_name)
    resolv = identity.node_resolv()
    folder = node.paths.pod(state.uid)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "etc-hosts": identity.hosts_file(pod, state.ip, hostname, domain),
        "hostname": f"{hostname}\n",
        "resolv.conf": identity.resolv_file(
            pod, cluster_dns=settings.cluster_dns, cluster_domain=settings.cluster_domain, node=resolv
        ),
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())


def back_off(state: PodState, step: BackOff) -> bool:
    """Note why the container is not started yet; whether that is news."""
    text = names.pod_text(state.pod)
    message = f"back-off {go_duration(step.seconds)} restarting failed container={step.name} pod={text}"
    said = f"Back-off restarting failed container {step.name} in pod {text}"
    state.tell_again(LONG_LOOK, step.run, "Warning", "BackOff", said, step.name)
    waiting = Waiting("CrashLoopBackOff", message)
    if state.waiting.get(step.name) == waiting:
        return False
    state.waiting[step.name] = waiting
    return True


async def kill_container(state: PodState, run: Run, grace: float, message: str = "") -> None:
    """preStop, the stop signal, and SIGKILL when the grace is over."""
    node = state.node
    node.prober.stop(run.id)
    state.tell_once(run.id, "Normal", "Killing", message or f"Stopping container {run.name}", run.name)
    found = names.find_container(state.pod, run.name)
    handler = ((found[1].get("lifecycle") or {}).get("preStop")) if found else None
    began = time.monotonic()
    if found and handler and grace > 0:
        failed = False
        try:
            async with asyncio.timeout(grace):
                await run_hook(node.engine, node.http, state.pod, found[1], run.id, handler, state.address)
        except HookError:
            failed = True
        except TimeoutError:
            failed = "sleep" not in handler  # to sleep for longer than there is time is no failure
        if failed:
            state.tell_once(run.id, "Warning", "FailedPreStopHook", "PreStopHook failed", run.name)
    left = max(LEAST_GRACE, grace - (time.monotonic() - began))
    with node.meters.operation("stop_container"):
        await node.engine.stop_container(run.id, left)
    await refresh(state)


async def resize_pod(state: PodState) -> None:
    """Change the limits of what runs: first around all of it, then each, then around all of it again.

    A limit around all that is too narrow for one inside it is refused by the kernel, hence the order.
    """
    node, observed = state.node, state.observe()
    assert observed.sandbox is not None
    try:
        await _check_memory(state, observed)
        await _limit_pod(state, observed.sandbox, resize.pod_target(state.pod, observed))
        for run, container in resize.running_unlike(state.pod, observed):
            if not resize.needs_restart(state.pod, run, container):
                labels = {names.CONTAINER_GIVEN: resize.due_text(state.pod, container)}
                limits = resize.limits_of(resize.due(state.pod, container), node.swap.limit(state.pod, container))
                node.inventory.put_container(await whole(node.engine.update_container(run.id, limits, labels)))
        observed = state.observe()
        assert observed.sandbox is not None
        await _limit_pod(state, observed.sandbox, resize.pod_target(state.pod, observed))
        state.waiting.pop(resize.IN_PROGRESS, None)
        state.resizing = replace(state.resizing, error="")
    except EngineError as error:
        if str(error) != state.resizing.error:
            generation = state.resizing.generation
            said = resize.summary(state.pod, generation, str(error))
            state.tell("Warning", "ResizeError", f"Pod resize error: {said}")
        state.resizing = replace(state.resizing, in_progress=True, error=str(error))
        state.waiting[resize.IN_PROGRESS] = Waiting("", "", state.node.clock.now() + RESIZE_RETRY)


async def _limit_pod(state: PodState, sandbox: SandboxState, limits: Resources) -> None:
    if sandbox.resources != limits:
        state.node.inventory.put_sandbox(await whole(state.node.engine.update_sandbox(sandbox.id, limits)))


async def _check_memory(state: PodState, observed: Observed) -> None:
    """Raises EngineError if a memory limit would fall below what is in use."""
    assert observed.sandbox is not None
    problems = []
    total = 0
    unlike = {run.id: container for run, container in resize.running_unlike(state.pod, observed)}
    for run in observed.running:
        usage = (await state.node.engine.usage(run.id)).get("memory_bytes", 0)
        total += usage
        if container := unlike.get(run.id):
            before = resize.given_limits(run, container).memory_limit
            after = resize.limits_of(resize.due(state.pod, container)).memory_limit
            problems.append(resize.shrinks_below_usage(run.name, before, after, usage))
    if (known := observed.sandbox.resources) is not None:
        after = resources.pod_limits(state.pod).memory_limit
        problems.insert(0, resize.shrinks_below_usage("", known.memory_limit, after, total))
    if problems := [problem for problem in problems if problem]:
        listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise EngineError(f"cannot decrease memory limits: {listed}")


async def refresh(state: PodState) -> None:
    """Do not wait for events to tell what a finished call has already made true."""
    node = state.node
    await asyncio.sleep(0)
    if any(run.phase == "running" for runs in node.inventory.runs(state.uid).values() for run in runs):
        for container in await node.engine.containers():
            if container.labels.get(names.POD_UID) == state.uid:
                node.inventory.put_container(container)


async def forget_run(state: PodState, run: str) -> None:
    """Forget an old life of a container; its log stays."""
    node = state.node
    await whole(node.engine.remove_container(run))
    node.inventory.drop_container(state.uid, run)
    node.prober.forget(run)


async def remove_run(state: PodState, run: str, name: str, attempt: int) -> None:
    """Forget an old life of a container, with its log."""
    node = state.node
    await forget_run(state, run)
    path = node.paths.log(state.pod, name, attempt)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink(missing_ok=True)
