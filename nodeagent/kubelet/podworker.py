"""One pod's worker: observe, plan, perform, until nothing is left but waiting. All work on a pod is in its one task.

A deletion, or a shorter grace, interrupts whatever the worker waits for; everything else just makes it look again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from nodeagent.engine.contract import EngineError
from nodeagent.kubelet import actions, names, starting
from nodeagent.kubelet.context import Node
from nodeagent.kubelet.phase import TERMINAL
from nodeagent.kubelet.plan import (
    BackOff,
    CreateSandbox,
    EndPod,
    ForgetRuns,
    KillContainer,
    MountVolumes,
    RemoveRun,
    ResizePod,
    StartContainer,
    Step,
    Wait,
    ending_order,
    plan,
)
from nodeagent.kubelet.podstate import PodState
from nodeagent.kubelet.status import Verdict
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import resource as r

log = logging.getLogger(__name__)

AFTER_ERROR, LONGEST_AFTER_ERROR = 0.5, 30.0
DEFERRED_RETRY = 3.0  # seconds until a resize that found no room is tried again
LONGEST_FLUSH = 1.0  # no pod waits longer for a server that does not answer
ENDS_AT_ONCE = 0.5  # seconds; of a pod that ends sooner only its end is told, not that it was asked to


class PodWorker:
    """The life of one pod on this node, from its binding until nothing of it is left."""

    def __init__(self, node: Node, pod: Object) -> None:
        self.node = node
        self.state = PodState(node, pod, self.wake)
        self.state.steps.happened("this node hears of the pod")
        self.finished = False
        self.returns = False  # the same pod begins anew after this one: its logs stay, to count its lives
        self._wake = asyncio.Event()
        self._wake_at: float | None = None
        self._urgency = (0, 0)
        self._turn: asyncio.Task[None] | None = None
        self._refresh_volumes = False
        self._ended = asyncio.Event()

    # What happens to the pod from outside.

    def wake(self) -> None:
        """Look again: something may have changed."""
        self._wake.set()

    def update(self, pod: Object, *, gone: bool = False) -> None:
        """The pod as the API has it now, or had it last when it is ``gone``."""
        state = self.state
        labels_changed = pod["metadata"].get("labels") != state.pod["metadata"].get("labels")
        notes_changed = pod["metadata"].get("annotations") != state.pod["metadata"].get("annotations")
        echo = not gone and state.shows_only_what_was_told(pod)
        state.take(pod, gone=gone)
        self._refresh_volumes |= labels_changed or notes_changed
        urgency = (2 if gone else 1, -names.grace_of(pod)) if gone or state.deleted else (0, 0)
        if urgency > self._urgency:
            self._urgency = urgency
            if self._turn is not None and not state.ended:
                self._turn.cancel()
        if not echo:
            self.wake()

    def evict(self, verdict: Verdict) -> None:
        """The pod has to go, whatever it is doing."""
        self.state.verdict = verdict
        if self._turn is not None and not self.state.ended:
            self._turn.cancel()
        self.wake()

    async def ended(self) -> None:
        """Until nothing of it runs any more."""
        await self._ended.wait()

    def reference_changed(self) -> None:
        """A ConfigMap or Secret the pod names is different now."""
        self._refresh_volumes = True
        self.state.retry_now()
        self.wake()

    # The worker's own task.

    async def run(self) -> None:
        """Work until nothing of the pod is left on this node."""
        delay = AFTER_ERROR
        while not self.finished:
            self._wake.clear()
            self._wake_at = None
            turn = self._turn = asyncio.get_running_loop().create_task(self._work())
            try:
                await asyncio.wait({turn})
            except asyncio.CancelledError:
                turn.cancel()
                await asyncio.wait({turn, *([self.state.making] if self.state.making else ())})
                raise
            if turn.cancelled():
                continue  # interrupted: the pod is to end, or to end sooner
            if error := turn.exception():
                log.error("pod %s: %s", names.pod_text(self.state.pod), error, exc_info=error)
                self._wake_at, delay = self.node.clock.now() + delay, min(delay * 2, LONGEST_AFTER_ERROR)
            else:
                delay = AFTER_ERROR
            await self._sleep()

    async def _sleep(self) -> None:
        if self.finished:
            return
        due = [at for at in (self._wake_at, self.state.refresh_at or None) if at is not None]
        timeout = max(0.0, min(due) - self.node.clock.now()) if due else None
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            pass

    async def _work(self) -> None:
        state = self.state
        await self._take_up()
        while not self.finished:
            self._wake.clear()  # whatever woke us so far is seen now
            observed = state.observe()
            if state.ended or state.gone:
                if not state.ended:
                    await self._end(float(names.grace_of(state.pod)))
                if state.deleted or state.gone:
                    await self._clean_up()
                return
            if state.allocate():
                self._wake_at = min(self._wake_at or math.inf, self.node.clock.now() + DEFERRED_RETRY)
            state.note_resized(observed)
            if not state.deleted:
                await state.publish_in_order(observed, LONGEST_FLUSH)
                await asyncio.sleep(0)  # the status goes on its way before anything else is done
            if state.volumes is not None and (self._refresh_volumes or 0 < state.refresh_at <= self.node.clock.now()):
                self._refresh_volumes = False
                state.refresh_at = 0.0
                await actions.mount_volumes(state)
            progressed = False
            now = self.node.clock.now()
            steps = plan(state.pod, observed, previous=state.status, now=now, verdict=state.verdict)
            for step in steps:
                progressed |= await self._perform(step, observed.sandbox.id if observed.sandbox else "")
            if not progressed:
                state.keep_steps()  # not sooner: a pod that starts has better things to do
                return

    async def _take_up(self) -> None:
        """A sandbox an earlier agent made: learn its address before saying anything about the pod."""
        state = self.state
        if state.ip or state.ended or state.deleted or state.gone or state.pod["spec"].get("hostNetwork"):
            return
        sandboxes = self.node.inventory.sandboxes(state.uid)
        if sandboxes and sandboxes[0].ready:
            await self.node.network_up.wait()
            await actions.whole(actions.attach(state, sandboxes[0].id, sandboxes[0].netns))

    async def _perform(self, step: Step, sandbox: str) -> bool:
        """Whether anything was done that calls for a new plan."""
        state = self.state
        match step:
            case Wait(until):
                self._wake_at = min(self._wake_at or until, until)
                return False
            case BackOff():
                if not actions.back_off(state, step):
                    return False
                # whoever watches sees how it ended before that it waits
                await state.flush(LONGEST_FLUSH)
            case MountVolumes():
                if not sandbox:
                    actions.begin_sandbox(state)
                await actions.mount_volumes(state)
            case CreateSandbox(attempt):
                await actions.create_sandbox(state, attempt)
            case StartContainer():
                if step.attempt and not step.replaces:
                    # whoever watches sees how the last one ended before the next one runs
                    await state.flush(LONGEST_FLUSH)
                if not await starting.start_container(state, step, sandbox):
                    await state.flush(LONGEST_FLUSH)  # the pod got as far as this before its container failed
            case KillContainer(run, name, grace, message):
                found = next((life for life in state.observe().running if life.id == run), None)
                if found is not None:
                    await actions.kill_container(state, found, grace, message)
                self.node.prober.forget(run)
            case RemoveRun(run, name, attempt):
                await actions.remove_run(state, run, name, attempt)
            case ForgetRuns(runs):
                await state.flush(LONGEST_FLUSH)  # whose end is the cause is told before nobody knows it any more
                for run in runs:
                    await actions.forget_run(state, run)
            case ResizePod():
                await actions.resize_pod(state)
            case EndPod(grace):
                await self._end(grace)
        return True

    async def _end(self, grace: float) -> None:
        """Stop everything: containers in their order, then the sandbox, its network and the volumes."""
        state, node = self.state, self.node
        state.tell_deadline()
        telling = asyncio.get_running_loop().call_later(ENDS_AT_ONCE, lambda: state.publish(state.observe()))
        try:
            deadline = time.monotonic() + grace
            for wave in ending_order(state.pod, state.observe().running):
                left = max(0.0, deadline - time.monotonic())
                await asyncio.gather(*(actions.kill_container(state, run, left) for run in wave))
            state.tell_deadline()
            with contextlib.suppress(EngineError, OSError, ApiError):  # of a sandbox that nobody wants any more
                await actions.whole(actions.made_known(state))
            for sandbox in node.inventory.sandboxes(state.uid):
                await node.network.detach(sandbox.id)
                await actions.whole(node.engine.stop_sandbox(sandbox.id))
                node.inventory.put_sandbox(replace(sandbox, ready=False))
            await actions.whole(node.volumes.unmount(state.uid))
        finally:
            telling.cancel()
        state.volumes, state.refresh_at = None, 0.0
        state.ended = True
        self._ended.set()
        node.references.forget(state.uid)
        node.tokens.forget(state.uid)
        state.give_back()
        state.tell_deadline()
        known_only_by_name = not node.inventory.containers(state.uid) and state.status.get("phase") in TERMINAL
        if not known_only_by_name:
            state.publish(state.observe(), for_good=True, ended=True)

    async def _clean_up(self) -> None:
        """Tell the API that the pod is no more, then remove what is left of it here."""
        state, node = self.state, self.node
        meta = state.pod["metadata"]
        if not state.gone:
            await state.flush()
            try:
                await node.client.delete(r.PODS, meta["name"], meta["namespace"], grace_period=0, uid=meta["uid"])
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
        for container in node.inventory.containers(state.uid):
            node.prober.forget(container.id)
            try:
                await actions.whole(node.engine.remove_container(container.id))
            except EngineError as error:
                log.warning("container %s of %s not removed: %s", container.id[:12], names.pod_text(state.pod), error)
        for sandbox in node.inventory.sandboxes(state.uid):
            await actions.whole(node.engine.remove_sandbox(sandbox.id))
        node.inventory.drop_pod(state.uid)
        node.statuses.forget(state.uid)
        logs = () if self.returns else (node.paths.pod_logs(state.pod),)
        await actions.whole(asyncio.to_thread(_remove, node.paths.pod(state.uid), *logs))
        self.finished = True


def living(workers: Iterable[PodWorker]) -> list[PodWorker]:
    """Those of pods that have not ended, and that nobody has told to."""
    return [
        worker
        for worker in workers
        if not worker.finished and not worker.state.ended and worker.state.verdict is None
        and worker.state.status.get("phase") not in TERMINAL and not worker.state.gone
    ]  # fmt: skip


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
