"""Which secrets a pod may use, and what a mirror pod may not."""

from __future__ import annotations

import pytest

from shim.admission.tests.cluster import (
    NAMESPACE,
    Cluster,
    admitted,
    container,
    create,
    pod,
    refusal,
    update,
)
from shim.api.meta import Object

KNOWN = (
    "serviceaccounts",
    {
        "metadata": {
            "name": "strict",
            "namespace": "ns",
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"},
        },
        "secrets": [{"name": "known"}],
        "imagePullSecrets": [{"name": "pull"}],
    },
)


def env(secret: str) -> list[Object]:
    return [{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]


SECRETS = [
    ({"volumes": [{"name": "v", "secret": {"secretName": "known"}}]}, ""),
    ({"containers": container(env=env("known"))}, ""),
    (
        {"volumes": [{"name": "v", "secret": {"secretName": "x"}}]},
        'volume with secret.secretName="x" is not allowed because service account strict does not reference that '
        "secret",
    ),
    (
        {"containers": container(env=env("x"))},
        'container c with envVar V referencing secret.secretName="x" is not allowed because service account strict '
        "does not reference that secret",
    ),
    (
        {"initContainers": container(envFrom=[{"secretRef": {"name": "x"}}])},
        'init container c with envFrom referencing secret.secretName="x" is not allowed because service account '
        "strict does not reference that secret",
    ),
    (
        {"imagePullSecrets": [{"name": "pull"}, {"name": "x"}]},
        'imagePullSecrets[1].name="x" is not allowed because service account strict does not reference that '
        "imagePullSecret",
    ),
]


@pytest.mark.parametrize(("spec", "why"), SECRETS)
async def test_an_account_may_list_the_secrets_of_its_pods(spec: Object, why: str) -> None:
    cluster, asked = Cluster(NAMESPACE, KNOWN), create("pods", pod(serviceAccountName="strict", **spec))
    if not why:
        assert (await admitted(cluster, asked))["spec"]["imagePullSecrets"] == [{"name": "pull"}]
        return
    assert (await refusal(cluster, asked)).message == f'pods "p" is forbidden: {why}'


async def test_debug_containers_are_no_way_to_other_secrets() -> None:
    old = pod(serviceAccountName="strict")
    asked = update(
        "pods",
        pod(serviceAccountName="strict", ephemeralContainers=container(env=env("x"))),
        old,
        subresource="ephemeralcontainers",
    )
    error = await refusal(Cluster(NAMESPACE, KNOWN), asked)
    assert 'ephemeral container c with envVar V referencing secret.secretName="x" is not allowed' in error.message


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
        (
            {"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "x"}}}]},
            "a mirror pod may not reference secrets",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ],
)
async def test_a_mirror_pod_gets_nothing_of_the_api(spec: Object, why: str) -> None:
    mirror = pod(**spec)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "h"}
    assert (await refusal(Cluster(NAMESPACE), create("pods", mirror))).message == f'pods "p" is forbidden: {why}'
