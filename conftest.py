"""What holds for every test of the project."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# the same examples each time, however long a busy machine takes for one; --hypothesis-profile=default tries others
settings.register_profile("all", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("all")

_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Temporary files go to a folder of this run's own, those of programs too that tests start: Kubernetes' Python
    client writes certificates to files, which a process leaves that is ended by a signal, as kubectl does its sockets
    and edited texts. What tests themselves write stays where pytest keeps it, to be looked at."""
    for name in [name for name in os.environ if name == "KUBECONFIG" or name.lower().endswith("_proxy")]:
        del os.environ[name]  # another cluster, a way to the outside: neither is a test's
    if hasattr(config, "workerinput"):
        return  # one of several workers has it from the process that started them
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.stash[_FOLDER] = tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="kubeshim-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_FOLDER, None):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def addresses() -> Callable[[], AbstractContextManager[None]]:
    """``with addresses():`` no test in another process of this run gives this machine's addresses to a cluster.

    Between looking for free ones and using them nobody else may find the same, and a cluster that is stopped has to
    find its own free when it starts again.
    """

    held = False

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        nonlocal held
        if held:
            yield
            return
        with Path(os.environ["TMPDIR"], "addresses.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            held = True
            try:
                yield
            finally:
                held = False

    return alone


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs root fails without it, by name: a skipped test looks like one that passed."""
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.fail("needs root, because it uses the kernel's own facilities: run `make test`", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that fork this process as it is come first: later it has threads, gRPC's among them, which a fork loses."""
    items.sort(key=lambda item: item.get_closest_marker("forks") is None)
