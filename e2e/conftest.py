"""One three-node cluster for most tests, a namespace of its own for each."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import leaks
from e2e.cluster import KUBECTL, OLD_KUBECTL, Addresses, Cluster, eventually

NUMBERS = itertools.count(1)
RUN = f"{os.getpid() % 1000:03d}"  # part of every name, so that two test runs on a machine do not meet


@pytest.fixture(scope="session", autouse=True)
def needs_root_and_tools() -> None:
    """Fail with a name rather than skip."""
    assert os.geteuid() == 0, "the e2e tests make namespaces and need root: run `make test`"
    for binary in (KUBECTL, OLD_KUBECTL):
        assert binary.exists(), f"{binary} is missing; `./setup.sh dev` fetches it"


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory, addresses: Addresses) -> Iterator[Cluster]:
    """A running cluster; after the last test here it must go and leave nothing. Each worker has its own."""
    made = Cluster(f"e2e{RUN}", tmp_path_factory.mktemp("e2e") / "data", addresses)
    before = leaks.snapshot(made.name)
    try:
        made.up(nodes=3)
        yield made
        eventually(lambda: leaks.nothing_of_deleted_pods(made) is None, "nothing is left of pods that are gone")
    finally:
        made.down(purge=True)
    assert leaks.left(before, leaks.snapshot(made.name)) == {}


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace named after the test, with its default service account."""
    told = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    name = f"{told[:50].strip('-')}-{next(NUMBERS)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def own_cluster(tmp_path: Path, addresses: Addresses) -> Iterator[Cluster]:
    """A cluster of its own for a test that starts and stops it; not started yet."""
    made = Cluster(f"life{RUN}", tmp_path / "data", addresses)
    before = leaks.snapshot(made.name)
    yield made
    made.down(purge=True)
    assert leaks.left(before, leaks.snapshot(made.name)) == {}
