"""Helm 4 and a chart of our own: custom kinds, hooks, tests, lookups, roll-backs, and both ways to merge."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import KUBECTL, ROOT, Cluster, eventually, run

HELM = KUBECTL.parent / "helm"
CHART = str(ROOT / "e2e" / "charts" / "greeting")
PATIENCE = ("--wait", "--timeout", "120s")

Helm = Callable[..., str]


@pytest.fixture
def helm(cluster: Cluster, namespace: str, tmp_path: Path) -> Helm:
    """Helm in the test's namespace: ``helm("list")``, or ``helm(..., fails=True)`` for what it says when it fails."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path)}

    def call(*args: str, fails: bool = False) -> str:
        done = run([str(HELM), *args, "-n", namespace], check=not fails, timeout=150, env=environment)
        assert not fails or done.returncode
        return done.stderr if fails else done.stdout

    return call


@pytest.fixture
def get(cluster: Cluster, namespace: str) -> Callable[..., Any]:
    return functools.partial(cluster.get, "-n", namespace)


def history(helm: Helm) -> list[tuple[int, str]]:
    return [(each["revision"], each["status"]) for each in json.loads(helm("history", "web", "-o", "json"))]


def test_a_release_from_install_to_uninstall(cluster: Cluster, namespace: str, helm: Helm, get) -> None:
    assert "web greets with Hello." in helm("install", "web", CHART, *PATIENCE)
    assert get("deployment", "web")["status"]["readyReplicas"] == 1
    assert get("visitor", "web")["spec"] == {"name": "web"}, "made from the definition in crds/"
    assert [each["name"] for each in json.loads(helm("list", "-o", "json"))] == ["web"]
    assert "STATUS: deployed" in helm("status", "web")
    assert "Phase:          Succeeded" in helm("test", "web", "--logs")
    settings = get("configmap", "web")["data"]
    assert settings["version"].startswith("v1.36")
    assert settings["policies"] == "true"

    helm("upgrade", "web", CHART, "--set", "text=Ahoy", *PATIENCE)
    upgraded = get("configmap", "web")["data"]
    assert (upgraded["text"], upgraded["revision"]) == ("Ahoy", "2")
    assert upgraded["secret"] == settings["secret"], "looked up in the cluster"

    jobs = "events", "--field-selector=reason=SuccessfulCreate,involvedObject.kind=Job"
    eventually(lambda: len(get(*jobs)["items"]) == 4, "each hook has its job")
    made = get(*jobs)["items"]
    made.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
    assert [event["involvedObject"]["name"].removeprefix("web-") for event in made] == [
        *("pre-install", "post-install", "pre-upgrade", "post-upgrade")
    ]

    said = helm(
        "upgrade", "web", CHART, "--set", "broken=true", "--rollback-on-failure", *PATIENCE[:2], "10s", fails=True
    )
    assert "has been rolled back" in said
    assert history(helm) == [(1, "superseded"), (2, "superseded"), (3, "failed"), (4, "deployed")]
    assert get("configmap", "web")["data"]["text"] == "Ahoy"
    helm("rollback", "web", "1", *PATIENCE)
    assert get("configmap", "web")["data"]["text"] == "Hello"
    assert "text: Ahoy" in helm("get", "values", "web", "--revision", "2")

    helm("uninstall", "web", *PATIENCE)
    assert json.loads(helm("list", "-o", "json")) == []
    assert get("job", "web-pre-delete")["status"]["succeeded"] == 1
    assert get("job", "web-pre-rollback")["status"]["succeeded"] == 1
    assert get("deployments,services,visitors,secrets")["items"] == []


def test_applied_by_the_server_others_fields_are_refused_until_forced(
    cluster: Cluster, namespace: str, helm: Helm, get
) -> None:
    helm("install", "web", CHART, "--no-hooks", *PATIENCE)
    cluster.kubectl("scale", "deployment/web", "--replicas=2", "-n", namespace)
    more = ("upgrade", "web", CHART, "--no-hooks", "--set", "replicas=3")
    assert 'conflict with "kubectl" with subresource "scale"' in helm(*more, fails=True)
    assert get("deployment", "web")["spec"]["replicas"] == 2
    helm(*more, "--force-conflicts", *PATIENCE)
    assert get("deployment", "web")["status"]["readyReplicas"] == 3


def test_merged_by_helm_what_others_added_stays(cluster: Cluster, namespace: str, helm: Helm, get) -> None:
    """Of old, new and live: what the chart says is so again, what it never said is left."""
    helm("install", "web", CHART, "--no-hooks", "--server-side=false", *PATIENCE)
    cluster.kubectl("scale", "deployment/web", "--replicas=2", "-n", namespace)
    cluster.kubectl("label", "service/web", "mine=yes", "-n", namespace)
    cluster.kubectl("patch", "configmap/web", "--type=merge", "-p", '{"data":{"text":"x","mine":"y"}}', "-n", namespace)
    helm("upgrade", "web", CHART, "--no-hooks", "--server-side=false", "--set", "text=Moin", *PATIENCE)
    assert get("deployment", "web")["spec"]["replicas"] == 1
    assert get("service", "web")["metadata"]["labels"]["mine"] == "yes"
    assert get("configmap", "web")["data"]["text"] == "Moin"
    assert get("configmap", "web")["data"]["mine"] == "y"
