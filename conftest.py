"""What holds for every test of the project."""

from __future__ import annotations

import os

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs root fails without it, by name: a skipped test looks like one that passed."""
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.fail("needs root, because it uses the kernel's own facilities: run `make test`", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that fork this process as it is come first: later it has threads, gRPC's among them, which a fork loses."""
    items.sort(key=lambda item: item.get_closest_marker("forks") is None)
