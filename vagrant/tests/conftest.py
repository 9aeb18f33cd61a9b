"""One cluster of virtual machines for all tests, a namespace of its own for each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from .machines import Machines


@pytest.fixture(scope="session")
def machines() -> Machines:
    made = Machines()
    assert made.kubeconfig.exists(), "there are no virtual machines: make vagrant-up"
    return made


@pytest.fixture
def namespace(machines: Machines) -> Iterator[str]:
    name = f"vagrant-{secrets.token_hex(3)}"
    machines.kubectl("create", "namespace", name)
    machines.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=120s", timeout=130)
    yield name
    machines.kubectl("delete", "namespace", name, "--wait=false")
