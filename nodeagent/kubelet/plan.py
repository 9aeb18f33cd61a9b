"""What to do next about a pod. Pure: the same pod and the same facts always give the same steps.

A plan holds only what can be done now; after its steps are done the worker observes and plans again, until
nothing is left but waiting. So an agent that died anywhere goes on from the same place. (One step may follow
another: a kill that fails raises, and what comes behind it, the start of the next life say, is not done.)
"""

from __future__ import annotations

from dataclasses import dataclass

from nodeagent.kubelet import resize
from nodeagent.kubelet.names import ContainerKind, grace_of, is_sidecar, lasting_of, statuses_of
from nodeagent.kubelet.observed import Observed, Run, last_exited
from nodeagent.kubelet.phase import TERMINAL
from nodeagent.kubelet.policy import restarts_after, restarts_all, should_start
from nodeagent.kubelet.restarts import LONG_LOOK, waits_until
from nodeagent.kubelet.status import Verdict
from shim.api.meta import Object


@dataclass(frozen=True, slots=True)
class MountVolumes:
    """Make every volume of the pod; containers must not start without one of them."""


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make the namespaces and the network of the pod; what is left of an earlier sandbox goes first."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StartContainer:
    """``replaces``: the run that was killed in the same breath, to start this one."""

    kind: ContainerKind
    name: str
    attempt: int
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class KillContainer:
    """Stop one container."""

    run: str
    name: str
    grace: float
    message: str


@dataclass(frozen=True, slots=True)
class BackOff:
    """The container would be started, but it failed too recently."""

    kind: ContainerKind
    name: str
    run: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RemoveRun:
    """An old life nobody asks about any more: the newest and the one before it are kept, for logs."""

    run: str
    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ForgetRuns:
    """Every life of these containers goes, but not their logs: the pod begins anew in the sandbox that it has."""

    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing before this time, unless something happens."""

    until: float


@dataclass(frozen=True, slots=True)
class EndPod:
    """Stop everything for good: first the main containers, then the sidecars, then the sandbox."""

    grace: float


@dataclass(frozen=True, slots=True)
class ResizePod:
    """Change the limits of what runs, as far as that needs no restart."""


Step = (
    MountVolumes
    | CreateSandbox
    | StartContainer
    | KillContainer
    | BackOff
    | RemoveRun
    | ForgetRuns
    | ResizePod
    | Wait
    | EndPod
)

DEADLINE = Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


def deadline_of(pod: Object, began: float | None) -> float | None:
    """When activeDeadlineSeconds are over."""
    seconds = pod["spec"].get("activeDeadlineSeconds")
    return None if seconds is None or began is None else began + float(seconds)


def verdict_of(pod: Object, began: float | None, now: float) -> Verdict | None:
    """Why the kubelet ends this pod by itself, if it does."""
    deadline = deadline_of(pod, began)
    return DEADLINE if deadline is not None and now >= deadline else None


def plan(
    pod: Object, observed: Observed, *, previous: Object, now: float, verdict: Verdict | None = None
) -> list[Step]:
    """``previous``: the pod's newest status, for restart counts. ``now``: by the clock that never jumps.

    ``verdict``: why the kubelet has to end it.
    """
    if verdict is not None and verdict.grace is not None:
        return [EndPod(verdict.grace)]
    end = EndPod(grace_of(pod))
    phases = {(pod.get("status") or {}).get("phase"), previous.get("phase")}
    if pod["metadata"].get("deletionTimestamp") or phases & TERMINAL or verdict_of(pod, observed.began, now):
        return [end]

    steps: list[Step] = []
    deadline = deadline_of(pod, observed.began)
    if deadline is not None:
        steps.append(Wait(deadline))

    if not observed.sandbox_ready:
        if _over_before_new_sandbox(pod, observed):
            return [end]
        if not observed.volumes_ready:
            return [*steps, *_paused(observed, "", now, MountVolumes())]
        return [*steps, *_paused(observed, "", now, CreateSandbox(observed.sandboxes))]
    if not observed.volumes_ready:
        # a new agent takes up a running pod and refreshes what is there, or one that had no more than its sandbox
        steps += _paused(observed, "", now, MountVolumes())
        if not any(observed.runs.values()):
            return steps

    if anew := _all_anew(pod, observed):
        return [*steps, *anew]

    if resize.work_left(pod, observed):
        steps += _paused(observed, resize.IN_PROGRESS, now, ResizePod())

    counts = _restart_counts(previous)
    for runs in observed.runs.values():
        steps += [RemoveRun(run.id, run.name, run.attempt) for run in runs[2:] if run.phase != "running"]
    for container in pod["spec"].get("ephemeralContainers") or ():
        if observed.latest(container["name"]) is None:
            steps += _start("ephemeralContainers", container, observed, counts, now)

    initialized, init_steps = _init_steps(pod, observed, counts, now)
    if initialized is None:
        return [end]
    if not initialized:
        return [*steps, *init_steps]

    kept, main_steps = _main_steps(pod, observed, counts, now)
    if not kept:
        return [end]  # sidecars alone keep no pod alive
    return [*steps, *init_steps, *main_steps]


def _all_anew(pod: Object, observed: Observed) -> list[Step]:
    """A container ended in a way after which all of the pod's begin anew: kill what runs, then forget them all.

    Those that ended so are forgotten last, so that whoever goes on after an agent that died knows what to do.
    """
    sources: list[Run] = []
    others: list[Run] = []
    for container in reversed(list(lasting_of(pod))):
        runs = observed.runs.get(container["name"], ())
        (sources if restarts_all(container, runs[0] if runs else None) else others).extend(runs)
    if not sources:
        return []
    kills = [KillContainer(run.id, run.name, 0.0, "killing") for run in others if run.phase == "running"]
    return [*kills, ForgetRuns(tuple(run.id for run in (*others, *sources)))]


def _restart_counts(status: Object) -> dict[str, int]:
    return {each["name"]: each.get("restartCount") or 0 for each in statuses_of(status)}


def _over_before_new_sandbox(pod: Object, observed: Observed) -> bool:
    """Whether the sandbox is gone (a reboot, say) and nothing is left that ought to run in a new one."""
    ran = [observed.latest(c["name"]) for c in pod["spec"]["containers"]]
    if not any(ran):
        return bool(_failed_init(pod, observed))
    return not any(
        should_start(pod, "containers", c, run) for c, run in zip(pod["spec"]["containers"], ran, strict=True)
    )


def _failed_init(pod: Object, observed: Observed) -> list[str]:
    failed = []
    for container in pod["spec"].get("initContainers") or ():
        run = observed.latest(container["name"])
        if run and run.phase == "exited" and run.exit_code and not restarts_after(pod, container, run.exit_code):
            failed.append(container["name"])
    return failed


def _init_steps(pod: Object, observed: Observed, counts: dict[str, int], now: float) -> tuple[bool | None, list[Step]]:
    """Whether initialization is done (None: it has failed for good), and what to do about init containers."""
    assert observed.sandbox is not None
    here = observed.sandbox.id  # a new sandbox is a new start: what ran in the old one does not count
    main = [observed.latest(c["name"]) for c in pod["spec"]["containers"]]
    main_began = any(run and run.sandbox == here for run in main)
    steps: list[Step] = []
    for container in pod["spec"].get("initContainers") or ():
        name = container["name"]
        run = observed.latest(name)
        current = run if run and run.sandbox == here else None
        if is_sidecar("initContainers", container):
            if current is None or current.phase != "running":
                steps += _start("initContainers", container, observed, counts, now)
                if not main_began:
                    return False, steps
            elif failed := observed.health_of(current).failed:
                message = f"Init container {name} failed {failed} probe"
                kill = KillContainer(current.id, name, _probe_grace(pod, container, failed), message)
                steps += [kill, *_replace("initContainers", current, observed, now)]
                if not main_began:
                    return False, steps
            elif _restart_resizes(pod, current, container):
                steps += _resized("initContainers", pod, current, observed, now)
            elif not observed.health_of(current).started and not main_began:
                return False, steps
            continue
        if main_began:
            continue
        if current is None or current.phase == "created":
            return False, [*steps, *_start("initContainers", container, observed, counts, now)]
        if current.phase == "running":
            return False, steps
        if current.exit_code != 0:
            if not restarts_after(pod, container, current.exit_code):
                return None, []
            return False, [*steps, *_start("initContainers", container, observed, counts, now)]
    return True, steps


def _main_steps(pod: Object, observed: Observed, counts: dict[str, int], now: float) -> tuple[bool, list[Step]]:
    """Whether any main container runs or will, and what to do about them."""
    steps: list[Step] = []
    kept = False
    for container in pod["spec"]["containers"]:
        run = observed.latest(container["name"])
        if run is not None and run.phase == "running":
            kept = True
            if run.asked and run.asked != container.get("image"):
                message = f"Container {run.name} definition changed, will be restarted"
                steps.append(KillContainer(run.id, run.name, float(grace_of(pod)), message))
                steps += _replace("containers", run, observed, now)
            elif failed := observed.health_of(run).failed:
                message = f"Container {run.name} failed {failed} probe"
                restarts = (container.get("restartPolicy") or pod["spec"].get("restartPolicy")) != "Never"
                if restarts:
                    message += ", will be restarted"
                steps.append(KillContainer(run.id, run.name, _probe_grace(pod, container, failed), message))
                if restarts:
                    steps += _replace("containers", run, observed, now)
            elif _restart_resizes(pod, run, container):
                steps += _resized("containers", pod, run, observed, now)
        elif should_start(pod, "containers", container, run):
            kept = True
            steps += _start("containers", container, observed, counts, now)
    return kept, steps


def _restart_resizes(pod: Object, run: Run, container: Object) -> bool:
    return resize.differs(pod, run, container) and resize.needs_restart(pod, run, container)


def _resized(kind: ContainerKind, pod: Object, run: Run, observed: Observed, now: float) -> list[Step]:
    message = f"Container {run.name} resize requires restart"
    return [KillContainer(run.id, run.name, float(grace_of(pod)), message), *_replace(kind, run, observed, now)]


def _start(
    kind: ContainerKind, container: Object, observed: Observed, counts: dict[str, int], now: float
) -> list[Step]:
    """Start it now, or say until when not."""
    name = container["name"]
    run = observed.latest(name)
    if run is not None and run.phase == "exited":
        until = waits_until(observed.delays.get(name), event_at=run.ended, now=now)
        if until:
            wait = Wait(min(until, now + LONG_LOOK))
            return [BackOff(kind, name, run.id, observed.delays[name].seconds), wait]
    attempt = max(run.attempt + 1 if run else 0, counts.get(name, 0) if run is None else 0)
    return _paused(observed, name, now, StartContainer(kind, name, attempt))


def _replace(kind: ContainerKind, killed: Run, observed: Observed, now: float) -> list[Step]:
    """Start the next life of a run that is about to be killed, unless the one before that ended too recently.

    The killed run itself delays nothing: it did not fail by itself.
    """
    before = last_exited(observed.runs[killed.name], killed.id)
    if before and waits_until(observed.delays.get(killed.name), event_at=before.ended, now=now):
        return []
    return [StartContainer(kind, killed.name, killed.attempt + 1, killed.id)]


def _paused(observed: Observed, name: str, now: float, step: Step) -> list[Step]:
    """The step, unless it failed a moment ago. The pod's own steps go by the name ``""``."""
    waiting = observed.waiting.get(name)
    if waiting is not None and waiting.retry_at > now:
        return [Wait(waiting.retry_at)]
    return [step]


def _probe_grace(pod: Object, container: Object, probe: str) -> float:
    told = (container.get(f"{probe}Probe") or {}).get("terminationGracePeriodSeconds")
    return float(told if told is not None else grace_of(pod))


def ending_order(pod: Object, running: tuple[Run, ...]) -> list[list[Run]]:
    """Who is stopped together: main containers first, then sidecars one by one, the last started first."""
    sidecars = [c["name"] for c in pod["spec"].get("initContainers") or () if is_sidecar("initContainers", c)]
    waves = [[run for run in running if run.name not in sidecars]]
    waves += [[run for run in running if run.name == name] for name in reversed(sidecars)]
    return [wave for wave in waves if wave]
