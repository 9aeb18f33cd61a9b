"""A container's image, on this node: found here or pulled, by its pull policy; told of in upstream's words.

``imagePullPolicy: Always`` asks the registry an image was pulled from whether it has another one now. An image that
was imported or made here came from no registry: it is used as it is. One that somebody's credentials were needed for
is here for others only if they could pull it too.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from nodeagent.engine.contract import EngineError, Image, ImageStore
from nodeagent.images import reference
from nodeagent.images.access import Policy
from nodeagent.images.credentials import Credential
from nodeagent.kubelet.observed import Delay, Waiting
from nodeagent.kubelet.restarts import FIRST_LOOK, LOOK, next_delay, waits_until
from shim.api.meta import Object

LOOK_AGAIN = 5.0  # seconds between looks whether someone has imported the image meanwhile


@dataclass(slots=True)
class _Failure:
    message: str
    at: float
    delay: Delay
    tell_at: float  # when users hear of it again
    backing_off: bool = False  # they have heard that it waits


class ImageMissing(Exception):
    """The image cannot be used; ``waiting`` says why in the container's status, ``news`` whether that is to be told."""

    def __init__(self, waiting: Waiting, news: bool = True) -> None:
        super().__init__(waiting.message)
        self.waiting, self.news = waiting, news


Tell = Callable[[str, str, str], None]
"""``tell(type, reason, message)``: an event about the container."""
Keys = Callable[[str], Awaitable[Sequence[Credential]]]
"""The pod's credentials for an image."""


class PodImages:
    """The images of one pod's containers, with the back-off of those that are missing."""

    def __init__(
        self,
        store: ImageStore,
        keys: Keys,
        clock: Callable[[], float] = time.time,
        policy: Policy = Policy("NeverVerifyPreloadedImages"),  # noqa: B008  it does not change
    ) -> None:
        self._store, self._keys, self._clock, self._policy = store, keys, clock, policy
        self._failures: dict[str, _Failure] = {}
        self._refused: set[str] = set()  # names that no registry is asked for

    async def ensure(self, container: Object, tell: Tell) -> Image:
        """The container's image. Raises ImageMissing."""
        return await self.fetch(container["image"], container.get("imagePullPolicy") or "IfNotPresent", tell)

    async def fetch(self, name: str, policy: str, tell: Tell) -> Image:
        """The image of this name. Raises ImageMissing."""
        try:
            reference.parse(name)
        except reference.InvalidReference:
            raise self._invalid(name, tell) from None
        image = self._store.find(name)
        if image is not None and (policy != "Always" or not image.pulled) and await self._may_use(image, name):
            self._failures.pop(name, None)
            message = f'Container image "{name}" already present on machine and can be accessed by the pod'
            tell("Normal", "Pulled", message)
            return image
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise self._refusal(name, "ErrImageNeverPull", message)
        self._wait_for_turn(name, tell)
        return await self._pull(name, tell)

    async def _may_use(self, image: Image, name: str) -> bool:
        """Whether this pod could pull it too; its Secrets are read only if that depends on them."""
        if not self._policy.asks(reference.parse(name).repository, pulled=image.pulled):
            return True
        return self._store.allowed(image.id, name, ()) or self._store.allowed(image.id, name, await self._keys(name))

    def _wait_for_turn(self, name: str, tell: Tell) -> None:
        """Raises ImageMissing as long as the last failure is too fresh."""
        failure, now = self._failures.get(name), self._clock()
        until = waits_until(failure.delay, event_at=failure.at, now=now) if failure else 0.0
        if failure is None or not until:
            return
        if news := now >= failure.tell_at:
            failure.backing_off, failure.tell_at = True, now + LOOK
            tell("Normal", "BackOff", f'Back-off pulling image "{name}"')
        reason, message = "ErrImagePull", failure.message
        if failure.backing_off:
            reason, message = "ImagePullBackOff", f'Back-off pulling image "{name}": ErrImagePull: {failure.message}'
        raise ImageMissing(Waiting(reason, message, min(until, failure.tell_at, now + LOOK_AGAIN)), news)

    async def _pull(self, name: str, tell: Tell) -> Image:
        tell("Normal", "Pulling", f'Pulling image "{name}"')
        began = self._clock()
        try:
            image = await self._store.pull(name, await self._keys(name))
        except EngineError as error:
            tell("Warning", "Failed", f'Failed to pull image "{name}": {error}')
            failure, now = self._failures.get(name), self._clock()
            delay = next_delay(failure.delay if failure else None, event_at=now, now=now)
            tell_at = now + (LOOK if failure else FIRST_LOOK)
            self._failures[name] = _Failure(str(error), now, delay, tell_at)
            raise ImageMissing(Waiting("ErrImagePull", str(error), min(tell_at, now + LOOK_AGAIN))) from error
        self._failures.pop(name, None)
        took = go_seconds(self._clock() - began)
        size = f"Image size: {image.size} bytes."
        tell("Normal", "Pulled", f'Successfully pulled image "{name}" in {took} ({took} including waiting). {size}')
        return image

    def _invalid(self, name: str, tell: Tell) -> ImageMissing:
        problem = f'couldn\'t parse image name "{name}": invalid reference format'
        message = f'Failed to apply default image tag "{name}": {problem}'
        tell("Warning", "InspectFailed", message)
        return self._refusal(name, "InvalidImageName", message)

    def _refusal(self, name: str, reason: str, message: str) -> ImageMissing:
        wait = LOOK if name in self._refused else FIRST_LOOK
        self._refused.add(name)
        return ImageMissing(Waiting(reason, message, self._clock() + wait))


def go_seconds(seconds: float) -> str:
    """As Go prints a duration that was cut to milliseconds: ``350ms``, ``1.5s``, ``1m2.5s``."""
    milliseconds = int(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    return f"{minutes}m{text}" if minutes else text
