"""Is a container's image on this node? Pulling is not built: an image that is not here is refused, in upstream's words.

``imagePullPolicy: Always`` therefore uses the image that is here, as if pulling had found it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nodeagent.engine.contract import Image, ImageStore
from nodeagent.kubelet.observed import Delay, Waiting
from nodeagent.kubelet.restarts import next_delay, waits_until
from shim.api.meta import Object

LOOK_AGAIN = 5.0  # seconds between looks whether someone has imported the image meanwhile


@dataclass(slots=True)
class _Failure:
    message: str
    at: float
    delay: Delay
    told: bool = False


class ImageMissing(Exception):
    """The image cannot be used; ``waiting`` says why in the container's status."""

    def __init__(self, waiting: Waiting) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting


Tell = Callable[[str, str, str], None]
"""``tell(type, reason, message)``: an event about the container."""


class PodImages:
    """The images of one pod's containers, with the back-off of those that are missing."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._failures: dict[str, _Failure] = {}

    def ensure(self, container: Object, tell: Tell, now: float) -> Image:
        """The container's image. Raises ImageMissing."""
        name = container["image"]
        image = self._store.find(name)
        if image is not None:
            self._failures.pop(name, None)
            message = f'Container image "{name}" already present on machine and can be accessed by the pod'
            tell("Normal", "Pulled", message)
            return image
        if container.get("imagePullPolicy") == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            if self._first(name, message, now):
                tell("Warning", "ErrImageNeverPull", message)
                tell("Warning", "Failed", "Error: ErrImageNeverPull")
            raise ImageMissing(Waiting("ErrImageNeverPull", message, now + LOOK_AGAIN))
        failure = self._failures.get(name)
        until = waits_until(failure.delay, event_at=failure.at, now=now) if failure else 0.0
        if failure and until:
            if not failure.told:
                failure.told = True
                tell("Normal", "BackOff", f'Back-off pulling image "{name}"')
                tell("Warning", "Failed", "Error: ImagePullBackOff")
            message = f'Back-off pulling image "{name}": ErrImagePull: {failure.message}'
            raise ImageMissing(Waiting("ImagePullBackOff", message, min(until, now + LOOK_AGAIN)))
        message = (
            f'image "{name}" is not on this node, and kubeshim cannot pull yet: import it with "shim image import FILE"'
        )
        tell("Normal", "Pulling", f'Pulling image "{name}"')
        tell("Warning", "Failed", f'Failed to pull image "{name}": {message}')
        tell("Warning", "Failed", "Error: ErrImagePull")
        delay = next_delay(failure.delay if failure else None, event_at=now, now=now)
        self._failures[name] = _Failure(message, now, delay)
        raise ImageMissing(Waiting("ErrImagePull", message, now + 1.0))

    def _first(self, name: str, message: str, now: float) -> bool:
        first = name not in self._failures
        self._failures.setdefault(name, _Failure(message, now, Delay(0.0, now)))
        return first
