"""``apiserver``, ``controllers`` and ``scheduler``: each by itself, in the foreground, for learning and debugging."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shim.api.flags import add_flags, read_flags
from shim.cluster import ClusterError
from shim.codec.configuration import ConfigurationError
from shim.settings import ApiServerSettings, ControllerSettings, SchedulerSettings
from shim.store.contract import StoreError
from shim.supervisor import Run, serve


def apiserver_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ApiServerSettings)


def apiserver(args: argparse.Namespace) -> int:
    """The API server alone; ``shim kubeconfig --data-dir D`` then gives access."""
    import shim.server
    from shim.server import prepare

    settings = prepare(_absolute(read_flags(ApiServerSettings, args)))
    said = f"serving https://{settings.bind[0]}:{settings.port}; next: shim kubeconfig --data-dir {settings.data_dir}"
    return _run(lambda ready: shim.server.run(settings, ready), said)


def controllers_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ControllerSettings)


def controllers(args: argparse.Namespace) -> int:
    """The controllers alone."""
    import shim.controllers

    settings = read_flags(ControllerSettings, args)
    _need_file(settings.kubeconfig)
    return _run(lambda ready: shim.controllers.run(settings, ready), "controllers are working")


def scheduler_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, SchedulerSettings)


def scheduler(args: argparse.Namespace) -> int:
    """The scheduler alone."""
    import shim.scheduler

    settings = read_flags(SchedulerSettings, args)
    _need_file(settings.kubeconfig)
    check_profiles(settings)
    return _run(lambda ready: shim.scheduler.run(settings, ready), "the scheduler is working")


def check_profiles(settings: SchedulerSettings) -> None:
    """Refuse a configuration now that the scheduler could not follow later."""
    from shim.scheduler import profiles
    from shim.scheduler.plugin_args import ConfigError

    try:
        profiles.read(settings.config)
    except ConfigError as error:
        raise ClusterError(str(error)) from error


def _run(run: Run, said: str) -> int:
    def announced(ready: Callable[[], None]) -> Any:
        def done() -> None:
            print(said, flush=True)
            ready()

        return run(done)

    try:
        serve(announced)
    except (StoreError, ConfigurationError) as error:
        raise ClusterError(str(error)) from error
    except OSError as error:  # a port that is taken, a data directory that cannot be written
        raise ClusterError(error.strerror or str(error)) from error
    return 0


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise ClusterError(f"{path} does not exist")


def _absolute(settings: ApiServerSettings) -> ApiServerSettings:
    import dataclasses

    return dataclasses.replace(settings, data_dir=settings.data_dir.absolute())
