"""What holds for every test of the project."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Temporary files go to a folder of this run's own, those of programs too that tests start: Kubernetes' Python
    client writes certificates to files, which a process leaves that is ended by a signal, as kubectl does its sockets
    and edited texts. What tests themselves write stays where pytest keeps it, to be looked at."""
    if hasattr(config, "workerinput"):
        return  # one of several workers has it from the process that started them
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.stash[_FOLDER] = tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="kubeshim-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_FOLDER, None):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs root fails without it, by name: a skipped test looks like one that passed."""
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.fail("needs root, because it uses the kernel's own facilities: run `make test`", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that fork this process as it is come first: later it has threads, gRPC's among them, which a fork loses."""
    items.sort(key=lambda item: item.get_closest_marker("forks") is None)
