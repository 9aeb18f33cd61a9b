"""How many pods should there be? Reads what they use every quarter of a minute, and writes the number to their owner.

What each kind of metric asks for is in ``autoscaler_kinds``, the arithmetic in ``autoscaler_metrics``, how fast to go
there in ``autoscaler_limits``; here is the order of questions, and what is said about each.
"""

from __future__ import annotations

import asyncio
import copy
import logging

from shim.api import quantity, selectors
from shim.api.conditions import set_condition
from shim.api.meta import GVR, Object, key_of, now
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.autoscaler_kinds import KINDS, Computed, Kind, Target
from shim.controllers.autoscaler_limits import History, limit, longest_period
from shim.controllers.autoscaler_metrics import TOLERANCE, NoMetrics, Tolerances
from shim.controllers.autoscaler_sources import MetricsApis
from shim.controllers.children import NAMESPACE, by_namespace
from shim.controllers.loop import Context, Controller
from shim.controllers.scales import Scales

log = logging.getLogger(__name__)

PERIOD = 15.0  # seconds, upstream's --horizontal-pod-autoscaler-sync-period


class Unscaled(Exception):
    """Nothing is changed this time. ``reason`` and the text are of the condition ``type``."""

    def __init__(self, type: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.type, self.reason, self.message = type, reason, message


class HorizontalPodAutoscaler(Controller):
    """Follows autoscalers; pods and their metrics are looked at when it is time."""

    name = "horizontal-pod-autoscaler"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.autoscalers = ctx.informer(r.HORIZONTALPODAUTOSCALERS)
        self.pods = ctx.informer(r.PODS)
        by_namespace(self.pods)
        self.autoscalers.on_change(self.changed)
        self.recorder = ctx.recorder("horizontal-pod-autoscaler")
        self.histories: dict[str, History] = {}
        self.selectors: dict[str, tuple[str, str]] = {}  # autoscaler -> namespace and selector it was last seen with
        self.scales = Scales(ctx.client)
        self.metrics = MetricsApis(ctx.client, self.scales)

    def changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.histories.pop(key_of(old), None)
            self.selectors.pop(key_of(old), None)
        elif old is None or old["spec"] != new["spec"]:
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        autoscaler = self.autoscalers.get(key)
        if autoscaler is None or autoscaler["metadata"].get("deletionTimestamp"):
            return
        self.queue.add_after(key, PERIOD)
        status = copy.deepcopy(autoscaler.get("status") or {})
        conditions: list[Object] = status.setdefault("conditions", [])
        try:
            await self.scale(autoscaler, status)
        except Unscaled as error:
            set_condition(conditions, error.type, "False", error.reason, error.message)
        if status != (autoscaler.get("status") or {}):
            try:
                await self.ctx.client.update(
                    r.HORIZONTALPODAUTOSCALERS, {**autoscaler, "status": status}, subresource="status"
                )
            except ApiError as error:
                if error.code != 404:
                    raise

    async def scale(self, autoscaler: Object, status: Object) -> None:
        """Decide, write the number, and put what happened into the status. Raises Unscaled."""
        spec, key, conditions = autoscaler["spec"], key_of(autoscaler), status["conditions"]
        at = asyncio.get_running_loop().time()
        gvr, scale = await self.scale_of(autoscaler)
        text = "the HPA controller was able to get the target's current scale"
        set_condition(conditions, "AbleToScale", "True", "SucceededGetScale", text)
        current = int(scale["spec"].get("replicas") or 0)
        history = self.histories.setdefault(key, History([(at, current)]))
        status["currentReplicas"] = current
        least, most = int(spec.get("minReplicas") or 1), int(spec["maxReplicas"])
        if current == 0:
            status["desiredReplicas"] = 0
            text = "scaling is disabled since the replica count of the target is zero"
            raise Unscaled("ScalingActive", "ScalingDisabled", text)
        if current > most:
            desired, why = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            desired, why = least, "Current number of replicas below Spec.MinReplicas"
        else:
            wanted, name = await self.computed(autoscaler, scale, status)
            why = f"{name} above target" if wanted > current else "All metrics below target"
            allowed = limit(spec, history, current, wanted, at)
            desired = allowed.replicas
            set_condition(conditions, "AbleToScale", "True", *allowed.able)
            set_condition(conditions, "ScalingLimited", str(allowed.limited), *allowed.why)
        if desired != current:
            await self.rescale(autoscaler, gvr, scale, desired, why, conditions)
            rules = (spec.get("behavior") or {}).get("scaleUp" if desired > current else "scaleDown") or {}
            history.scaled(at, current, desired, longest_period(rules))
            status["lastScaleTime"] = now()
        status["desiredReplicas"] = desired

    # The target.

    async def scale_of(self, autoscaler: Object) -> tuple[GVR, Object]:
        """What the target's subresource scale says. Raises Unscaled."""
        target = autoscaler["spec"]["scaleTargetRef"]
        group = target.get("apiVersion", "").rpartition("/")[0]
        try:
            served = await self.scales.served(group, target["kind"])
            if served is None:
                raise ApiError(404, "NotFound", f'no matches for kind "{target["kind"]}" in group "{group}"')
            return served.gvr, await self.scales.get(served.gvr, target["name"], autoscaler["metadata"]["namespace"])
        except ApiError as error:
            self.recorder.event(autoscaler, "Warning", "FailedGetScale", error.message)
            text = f"the HPA controller was unable to get the target's current scale: {error.message}"
            raise Unscaled("AbleToScale", "FailedGetScale", text) from error

    async def rescale(
        self, autoscaler: Object, gvr: GVR, scale: Object, desired: int, why: str, conditions: list[Object]
    ) -> None:
        try:
            await self.scales.replace(gvr, scale, desired)
        except ApiError as error:
            text = f"New size: {desired}; reason: {why}; error: {error.message}"
            self.recorder.event(autoscaler, "Warning", "FailedRescale", text)
            text = f"the HPA controller was unable to update the target scale: {error.message}"
            raise Unscaled("AbleToScale", "FailedUpdateScale", text) from error
        text = f"the HPA controller was able to update the target scale to {desired}"
        set_condition(conditions, "AbleToScale", "True", "SucceededRescale", text)
        self.recorder.event(autoscaler, "Normal", "SuccessfulRescale", f"New size: {desired}; reason: {why}")
        log.info("autoscaler %s: %d, because %s", key_of(autoscaler), desired, why)

    # The metrics.

    async def computed(self, autoscaler: Object, scale: Object, status: Object) -> tuple[int, str]:
        """The most that any metric asks for, and which one that is. Raises Unscaled."""
        selector, pods = self.pods_of(autoscaler, (scale.get("status") or {}).get("selector") or "")
        metrics: list[Object] = autoscaler["spec"].get("metrics") or []
        current = int(scale["spec"].get("replicas") or 0)
        seen = int((scale.get("status") or {}).get("replicas") or 0)
        tolerances = _tolerances(autoscaler["spec"])
        target = Target(autoscaler["metadata"]["namespace"], selector, pods, current, seen, tolerances)
        found: list[Computed] = []
        failures: list[tuple[Kind, Object, str]] = []
        status["currentMetrics"] = []
        for metric in metrics:
            kind = KINDS[metric["type"]]
            try:
                one = await kind.compute(self.metrics, target, metric)
                found.append(one)
                status["currentMetrics"].append(one.status)
            except NoMetrics as error:
                failures.append((kind, metric, str(error)))
                self.recorder.event(autoscaler, "Warning", kind.reason, str(error))
                status["currentMetrics"].append({"type": ""})
        best = max(found, key=lambda each: each.proposal.replicas, default=None)
        if failures and (best is None or best.proposal.replicas < current):  # what is not known might ask for more
            kind, metric, cause = failures[0]
            told = f"invalid metrics ({len(failures)} invalid out of {len(metrics)}), first error is: "
            text = told + kind.failed(metric, cause)
            self.recorder.event(autoscaler, "Warning", "FailedComputeMetricsReplicas", text)
            text = f"the HPA was unable to compute the replica count: {cause}"
            raise Unscaled("ScalingActive", kind.reason, text)
        assert best is not None
        text = f"the HPA was able to successfully calculate a replica count from {best.name}"
        set_condition(status["conditions"], "ScalingActive", "True", "ValidMetricFound", text)
        return best.proposal.replicas, best.name

    def pods_of(self, autoscaler: Object, text: str) -> tuple[str, list[Object]]:
        """The selector of the target, and the pods it means. Raises Unscaled."""
        key, namespace = key_of(autoscaler), autoscaler["metadata"]["namespace"]
        if not text:
            self.recorder.event(autoscaler, "Warning", "SelectorRequired", "selector is required")
            raise Unscaled("ScalingActive", "InvalidSelector", "the HPA target's scale is missing a selector")
        self.selectors[key] = (namespace, text)
        selector = selectors.parse(text)
        inside = self.pods.by(NAMESPACE, namespace)
        pods = [pod for pod in inside if selector.matches(pod["metadata"].get("labels") or {})]
        others = [other for other, (where, _) in self.selectors.items() if where == namespace and other != key]
        sharing = [other for other in others if any(self._selects(other, pod) for pod in pods)]
        if sharing:
            told = " ".join(sorted([key, *sharing]))
            message = f"pods by selector {text} are controlled by multiple HPAs: [{told}]"
            self.recorder.event(autoscaler, "Warning", "AmbiguousSelector", message)
            raise Unscaled("ScalingActive", "AmbiguousSelector", message)
        return text, pods

    def _selects(self, autoscaler: str, pod: Object) -> bool:
        return selectors.parse(self.selectors[autoscaler][1]).matches(pod["metadata"].get("labels") or {})


def _tolerances(spec: Object) -> Tolerances:
    behavior = spec.get("behavior") or {}

    def of(rules: str) -> float:
        told = (behavior.get(rules) or {}).get("tolerance")
        return TOLERANCE if told is None else quantity.parse(str(told)).nanos / 1e9

    return Tolerances(of("scaleUp"), of("scaleDown"))
