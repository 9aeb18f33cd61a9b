"""What can go wrong on the way to a running container, in the words users see in status and events."""

from __future__ import annotations


class ConfigError(Exception):
    """The container's configuration cannot be made: CreateContainerConfigError."""


class MountError(Exception):
    """A volume cannot be made: FailedMount."""

    def __init__(self, volume: str, message: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {message}')


class MissingReference(ConfigError):
    """A ConfigMap or Secret that a pod names does not exist (yet)."""


class HookError(Exception):
    """A lifecycle hook failed."""
