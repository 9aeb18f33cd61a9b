"""All that a worker remembers of its pod, and the Observed value made of it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nodeagent.engine.contract import SandboxState
from nodeagent.images.credentials import Credential
from nodeagent.kubelet import names, pullsecrets, resize, resources
from nodeagent.kubelet.context import Node
from nodeagent.kubelet.images import PodImages
from nodeagent.kubelet.observed import Delay, Health, Observed, Run, Waiting
from nodeagent.kubelet.phase import TERMINAL
from nodeagent.kubelet.plan import DEADLINE, verdict_of
from nodeagent.kubelet.status import Verdict, overtakes, pod_status, rejected_status
from nodeagent.linux.steps import Steps
from shim.api import pod_sum
from shim.api.meta import Object, parse_time

log = logging.getLogger(__name__)

STEPS_KEPT = 100  # a pod that restarts for ever must not fill the disk with its story


class PodState:
    """A pod, what was done for it, and what is known of it."""

    def __init__(self, node: Node, pod: Object, changed: Callable[[], None]) -> None:
        self.node = node
        self.uid = names.uid_of(pod)
        self.wanted = pod  # as the API has it
        self.pod = pod  # with the resources that are allocated to it
        self.allocation = self._known_allocation(pod)
        self.resizing = resize.Resizing()
        self.status: Object = pod.get("status") or {}
        self._began: float | None = None
        self.changed = changed
        self.static = names.is_static(pod)
        self.mirror: Object | None = None  # of a static pod: what the API shows of it
        self.gone = False  # from the API, or the folder
        self.ended = False  # nothing runs, nothing will
        self.verdict: Verdict | None = None
        self.making: asyncio.Task[SandboxState] | None = None  # a sandbox that is not in the inventory yet
        self.ip = ""
        self.volumes: dict[str, Path] | None = None
        self.refresh_at = 0.0
        self.waiting: dict[str, Waiting] = {}
        self.delays: dict[str, Delay] = {}
        self.images = PodImages(node.images, self._keys, node.clock.now, node.image_policy)
        self.started_here: set[str] = set()
        self.begun = ""  # the run that was started last, until a status has shown it running
        self.told: dict[tuple[str, str], float] = {}  # until when nobody wants to hear of it again
        self.steps = Steps()
        self._known_at = time.monotonic()
        self._steps_kept = 0
        self._taken_up = self.static and bool(node.inventory.sandboxes(self.uid))  # an earlier agent ran it

    @property
    def own_users(self) -> bool:
        """Whether it has a user namespace."""
        return self.pod["spec"].get("hostUsers") is False

    async def _keys(self, image: str) -> Sequence[Credential]:
        async def secret(name: str) -> Object:
            return await self.node.references.get(self.uid, "secret", self.pod["metadata"]["namespace"], name)

        def missing(names_: str) -> None:
            said = "attempting to pull the image may not succeed."
            message = f"Unable to retrieve some image pull secrets ({names_}); {said}"
            self.tell_once("", "Warning", "FailedToRetrieveImagePullSecret", message)

        return await pullsecrets.credentials(self.pod, image, secret, missing)

    def _known_allocation(self, pod: Object) -> dict[str, Object]:
        """What an earlier agent allocated: runs remember it. A new pod has what it asks for."""
        allocation = resize.allocation_of(pod)
        for name, runs in self.node.inventory.runs(self.uid).items():
            if runs[0].given and name in allocation:
                allocation[name] = resize.given(runs[0], {})
        return allocation

    def take(self, pod: Object, *, gone: bool) -> None:
        """The pod as the API has it now."""
        self.wanted, self.gone = pod, gone
        self.pod = resize.with_allocation(pod, self.allocation)
        if self.uid not in self.node.requested and not self.ended:
            self.node.requested[self.uid] = resources.pod_totals(self.pod, "requests")

    def shows_only_what_was_told(self, pod: Object) -> bool:
        """Whether nothing is new in the API but the status from here."""
        before = self.wanted
        return (
            pod.get("status") == self.status
            and pod["spec"] == before["spec"]
            and _without_writers(pod["metadata"]) == _without_writers(before["metadata"])
        )

    def reject(self, why: Verdict) -> None:
        """The pod may not run here: it has failed before anything was made for it."""
        self.tell("Warning", why.reason, why.message)
        self.ended = True
        self.give_back()
        self.status = rejected_status(self.pod, why, time.time())
        self._submit()

    def give_back(self) -> None:
        """It has ended: others may have what it had."""
        self.node.resizes.leave(self.uid)
        if self.node.requested.pop(self.uid, None):
            self.node.resizes.room()

    def allocate(self) -> bool:
        """Give the pod the resources it asks for, if the node has room; otherwise say why not.

        Returns whether it is worth asking again later.
        """
        wanted = resize.allocation_of(self.wanted)
        if wanted == self.allocation or "kind" not in self.wanted:
            self.node.resizes.leave(self.uid)
            self.resizing = replace(self.resizing, refused=None)
            return False
        generation = int(self.wanted["metadata"].get("generation") or 0)
        if all(resize.same(told, self.allocation.get(name) or {}) for name, told in wanted.items()):
            refused = None
        else:
            refused = resize.without_swap(self.pod, self.wanted, self.node.swap) or self._shortage(
                self.uid, self.wanted
            )
            if refused is None and resize.grows(self.pod, self.wanted):
                first = self.node.resizes.ahead(
                    self.uid, self.wanted, lambda uid, wanted: self._shortage(uid, wanted) is None
                )
                if first is not None:
                    first.look()
                    return True
            if refused is None:
                self.resizing = resize.Resizing(in_progress=True, generation=generation)
                self.tell("Normal", "ResizeStarted", f"Pod resize started: {resize.summary(self.wanted, generation)}")
        if refused is None:
            shrinks = not resize.grows(self.pod, self.wanted)
            self.allocation = wanted
            self.pod = self.wanted
            self.node.requested[self.uid] = resources.pod_totals(self.pod, "requests")
            self.node.resizes.leave(self.uid)
            if shrinks:
                self.node.resizes.room()
            return False
        if refused != self.resizing.refused:
            said = resize.summary(self.wanted, generation, refused.message)
            self.tell("Warning", f"Resize{refused.reason}", f"Pod resize {refused.reason}: {said}")
        self.resizing = replace(self.resizing, refused=refused, refused_generation=generation)
        if refused.reason != "Deferred":
            self.node.resizes.leave(self.uid)
            return False
        self.node.resizes.defer(self.uid, self.wanted, self.changed)
        return True

    def _shortage(self, uid: str, wanted: Object) -> resize.Refused | None:
        """Why a pod of this node cannot have what it wants beside what all others have."""
        others: resources.Amounts = {}
        for other, amounts in self.node.requested.items():
            if other != uid:
                pod_sum.add(others, amounts)
        return resize.refusal(wanted, others, self.node.allocatable)

    def note_resized(self, observed: Observed) -> None:
        """A resize is over once everything runs with what is allocated to it."""
        if not self.resizing.in_progress or observed.sandbox is None:
            return
        if resize.running_unlike(self.pod, observed) or resize.work_left(self.pod, observed):
            return
        generation = self.resizing.generation
        self.resizing = replace(self.resizing, in_progress=False, error="")
        self.tell("Normal", "ResizeCompleted", f"Pod resize completed: {resize.summary(self.pod, generation)}")

    @property
    def began(self) -> float | None:
        """When the pod began here, by the node's clock; None as long as no status has told of it."""
        if self._began is None and self.status.get("startTime"):
            self._began = self.node.clock.at(parse_time(self.status["startTime"]).timestamp())
        return self._began

    @property
    def deleted(self) -> bool:
        return bool(self.pod["metadata"].get("deletionTimestamp"))

    def tell(
        self, type_: str, reason: str, message: str, container: str = "", notes: Mapping[str, str] | None = None
    ) -> None:
        """Record an event about the pod or one of its containers; ``notes`` are its annotations."""
        if "kind" not in self.pod:
            return  # known from its leftovers only
        found = names.find_container(self.pod, container) if container else None
        path = names.field_path(found[0], container) if found else None
        self.node.recorder.event(self.pod, type_, reason, message, field_path=path, annotations=notes)

    def tell_once(self, key: str, type_: str, reason: str, message: str, container: str = "") -> None:
        self.tell_again(math.inf, key, type_, reason, message, container)

    def tell_again(self, after: float, key: str, type_: str, reason: str, message: str, container: str = "") -> None:
        """Tell of what is still so, unless that was said less than ``after`` seconds ago."""
        now = self.node.clock.now()
        if self.told.get((key, reason), 0.0) <= now:
            self.told[key, reason] = now + after
            self.tell(type_, reason, message, container)

    def tell_deadline(self) -> None:
        """Upstream tells of it whenever it looks at the pod: that its time is over, to end it, ended, let go of."""
        if self.verdict is DEADLINE:
            self.tell("Normal", DEADLINE.reason, DEADLINE.message)

    def observe(self) -> Observed:
        """What is true now; running containers that ought to be probed are, from here on."""
        inventory = self.node.inventory
        sandboxes = inventory.sandboxes(self.uid)
        runs = inventory.runs(self.uid)
        health: dict[str, Health] = {}
        for run in (run for lives in runs.values() for run in lives):
            if run.phase == "running" and not self.ended:
                self._probe(run)
            elif run.phase == "exited":
                self.node.prober.stop(run.id)
            if (known := self.node.prober.health(run.id)) is not None:
                health[run.id] = known
        return Observed(
            sandbox=sandboxes[0] if sandboxes else None,
            sandboxes=len(sandboxes),
            began=self.began,
            ip=self.ip,
            held_back=bool(sandboxes) and self.node.network.holds_back(sandboxes[0].id),
            volumes_ready=self.volumes is not None,
            runs=runs,
            waiting=dict(self.waiting),
            health=health,
            delays=dict(self.delays),
        )

    def _probe(self, run: Run) -> None:
        found = names.find_container(self.pod, run.name)
        if found is None or self.node.prober.health(run.id) is not None:
            return
        kind, container = found
        if kind == "initContainers" and not names.is_sidecar(kind, container):
            return

        def tell(reason: str, message: str) -> None:
            self.tell("Warning", reason, message, run.name)

        self.node.prober.start(
            run, container, self.address, known=self._known_health(run), changed=self.changed, tell=tell
        )

    def _known_health(self, run: Run) -> Health | None:
        """What an earlier agent told of this run; a container it started is not put back to unready."""
        if run.id in self.started_here:
            return None
        for status in names.statuses_of(self.status):
            if status.get("containerID") == f"{names.RUNTIME}://{run.id}":
                return Health(started=bool(status.get("started")), ready=bool(status.get("ready")))
        return None

    @property
    def address(self) -> str:
        return self.node.settings.node_ip if self.pod["spec"].get("hostNetwork") else self.ip

    def publish(self, observed: Observed, *, for_good: bool = False, ended: bool = False) -> None:
        """Work out the status and, if it changed, tell it."""
        if not self.gone:
            self._submit_changed(self._work_out(observed, for_good=for_good, ended=ended))

    async def publish_in_order(self, observed: Observed, within: float) -> None:
        """The same, but wait up to ``within`` seconds until what goes before was heard.

        However short a life was, whoever watches sees that it began before it sees how it ended.
        """
        if self.gone:
            return
        earlier, self.begun = observed.before_the_end_of(self.begun), ""
        for moment in (earlier, observed) if earlier else (observed,):
            status = self._work_out(moment)
            if overtakes(self.status, status):
                await self.flush(within)
            self._submit_changed(status)

    def _work_out(self, observed: Observed, *, for_good: bool = False, ended: bool = False) -> Object:
        if self.verdict is None and (verdict := verdict_of(self.pod, self.began, self.node.clock.now())):
            self.verdict = verdict
            self.tell_deadline()
        return pod_status(
            self.pod,
            observed,
            previous=self.status,
            host_ip=self.node.settings.node_ip,
            now=time.time(),
            for_good=for_good,
            ended=ended,
            verdict=self.verdict,
            resizing=self.resizing,
        )

    def _submit_changed(self, status: Object) -> None:
        if status != self.status:
            if status["phase"] == "Running" and self.status.get("phase") in (None, "Pending"):
                self.node.meters.pod_runs(time.monotonic() - self._known_at)
            if _is_ready(status) and not _is_ready(self.status):
                self.steps.happened("all is ready")
            self.status = status
            self._submit()

    @property
    def told_as(self) -> Object | None:
        """The object in the API whose status is this pod's."""
        return self.mirror if self.static else self.pod

    def _submit(self) -> None:
        if (told := self.told_as) is not None and self.status.get("startTime"):
            self.node.statuses.submit(told, self.status)

    async def flush(self, within: float | None = None) -> None:
        """Until the API has the newest status, or ``within`` seconds are over."""
        if (told := self.told_as) is not None:
            await self.node.statuses.flush(names.uid_of(told), within=within)

    def mirrored(self, mirror: Object | None) -> None:
        """The API shows this static pod by another mirror now, or by none."""
        before, self.mirror = self.mirror, mirror
        if before is not None and (mirror is None or names.uid_of(before) != names.uid_of(mirror)):
            self.node.statuses.forget(names.uid_of(before))
        if mirror is not None and (before is None or names.uid_of(before) != names.uid_of(mirror)):
            self._recall(mirror.get("status") or {})
            self._submit()

    def _recall(self, told: Object) -> None:
        """Since when things are so, an earlier agent has told; nobody else knows it of a static pod."""
        if self._taken_up and told.get("startTime") and told.get("phase") not in TERMINAL:
            self.status = {**self.status, "startTime": told["startTime"], "conditions": told.get("conditions") or []}
            self._began = None
            self.changed()
        self._taken_up = False

    def keep_steps(self) -> None:
        """Write down what was done for the pod, beside its other files; ``shim explain`` shows it."""
        if len(self.steps.taken) == self._steps_kept or self.ended:
            return
        del self.steps.taken[:-STEPS_KEPT]
        self._steps_kept = len(self.steps.taken)
        path = self.node.paths.steps(self.uid)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.steps.taken))
        except OSError as error:  # a full disk, say: nothing else needs it
            log.info("steps of pod %s not kept: %s", self.uid, error)

    def retry_now(self) -> None:
        """Something the pod waits for has changed: forget when to try again, except back-offs."""
        for name, waiting in self.waiting.items():
            if waiting.reason in ("", "CreateContainerConfigError"):
                self.waiting[name] = replace(waiting, retry_at=0.0)


def _without_writers(metadata: Object) -> Object:
    return {name: value for name, value in metadata.items() if name not in ("resourceVersion", "managedFields")}


def _is_ready(status: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
