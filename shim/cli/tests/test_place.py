"""Where commands find what they look at: the folders of this machine that were named, and no others."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from shim import cluster as clusters
from shim.cli import place


def _said(data_dir: Path | None) -> argparse.Namespace:
    return argparse.Namespace(name=clusters.DEFAULT_NAME, data_dir=data_dir)


def _master(folder: Path) -> Path:
    (folder / "logs").mkdir(parents=True)
    (folder / "admin.kubeconfig").touch()
    return folder


def _agent(folder: Path) -> Path:
    (folder / "logs").mkdir(parents=True)
    place.remember("n1", folder, folder / "run", "shim/n1")
    (folder / "kubelet.kubeconfig").touch()
    return folder


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)


def test_an_agent_that_is_named_is_not_asked_about_at_another_clusters_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "SERVER_DATA", _master(tmp_path / "shim"))
    joined = _agent(tmp_path / "elsewhere")
    here = place.find_nodes(_said(joined))
    assert [node.name for node in here.nodes] == ["n1"]
    assert here.kubeconfig == joined / "kubelet.kubeconfig"


def test_a_master_with_an_agent_is_asked_as_its_administrator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "SERVER_DATA", server := _master(tmp_path / "shim"))
    monkeypatch.setattr(place, "AGENT_DATA", _agent(tmp_path / "shim-agent"))
    monkeypatch.setattr(clusters, "load", lambda name, data_dir=None: None)
    assert place.find_nodes(_said(None)).kubeconfig == server / "admin.kubeconfig"


def test_whoever_says_as_whom_to_ask_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/mine")
    assert place.find_nodes(_said(_agent(tmp_path / "a"))).kubeconfig == Path("/mine")
