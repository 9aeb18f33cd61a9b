"""One cluster of virtual machines for all tests, a namespace of its own for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from .machines import Machines

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def machines() -> Machines:
    made = Machines()
    assert made.kubeconfig.exists(), "there are no virtual machines: make vagrant-up"
    return made


@pytest.fixture
def namespace(machines: Machines) -> Iterator[str]:
    name = f"vagrant-{next(NUMBERS)}"
    machines.kubectl("create", "namespace", name)
    machines.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=120s", timeout=130)
    yield name
    machines.kubectl("delete", "namespace", name, "--wait=false")
