"""What the EndpointSlice and the Endpoints controller share: which Services to look at when something changes."""

from __future__ import annotations

from shim.api.meta import Object, key_of
from shim.client import resource as r
from shim.controllers.children import NAMESPACE, by_namespace
from shim.controllers.loop import Context, Controller
from shim.controllers.service_pods import TriggerTimes, concerned, selects


class ServiceFollower(Controller):
    """A controller whose keys are Services: a change of one, or of a pod behind it, is work."""

    component: str  # as events name their source

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.services = ctx.informer(r.SERVICES)
        self.pods = ctx.informer(r.PODS)
        for informer in (self.services, self.pods):
            by_namespace(informer)
        self.recorder = ctx.recorder(self.component)
        self.times = TriggerTimes()
        self.services.on_change(self.service_changed)
        self.pods.on_change(self.pod_changed)

    def service_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                self.queue.add(key_of(obj))

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (new, old):
            if pod is not None:
                services = self.services.by(NAMESPACE, pod["metadata"]["namespace"])
                for key in concerned(services, old, new):
                    self.queue.add(key)
                return

    def pods_of(self, service: Object) -> list[Object]:
        """The pods the Service selects."""
        return [pod for pod in self.pods.by(NAMESPACE, service["metadata"]["namespace"]) if selects(service, pod)]
