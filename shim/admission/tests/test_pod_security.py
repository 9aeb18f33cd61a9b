"""The Pod Security Standards: what each level refuses, and what a namespace's labels make of it."""

from __future__ import annotations

from typing import Any

import pytest

from shim.admission.chain import Chain
from shim.admission.pod_security.checks import refusals
from shim.admission.pod_security.policy import Standard, policy_of
from shim.admission.request import Request
from shim.admission.tests.cluster import ACCOUNT, Cluster, create, pod, refusal, update
from shim.api.meta import Object

SAFE: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LABEL = "pod-security.kubernetes.io/"


def one(**container: Any) -> Object:
    return {"containers": [{"name": "a", "image": "i", **container}]}


def secure(**context: Any) -> Object:
    return one(securityContext={**SAFE, **context})


def two(context: Object) -> Object:
    """A bad init container and a bad container."""
    return {**one(securityContext=context), "initContainers": [{"name": "b", "securityContext": context}]}


def judged(level: str, spec: Object, minor: int | None = None, annotations: dict[str, str] | None = None) -> str:
    return ", ".join(map(str, refusals(Standard(level, minor), annotations, spec)))


BASELINE = [
    (one(), ""),
    ({**one(), "hostPID": True, "hostIPC": True}, "host namespaces (hostPID=true, hostIPC=true)"),
    (
        two({"privileged": True}),
        'privileged (containers "b", "a" must not set securityContext.privileged=true)',
    ),
    (
        one(securityContext={"capabilities": {"add": ["NET_RAW", "BPF", "CHOWN"]}}),
        'non-default capabilities (container "a" must not include "BPF", "NET_RAW" in '
        "securityContext.capabilities.add)",
    ),
    ({**one(), "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
    (
        one(ports=[{"hostPort": 81}, {"hostPort": 80}, {"containerPort": 8}]),
        'hostPort (container "a" uses hostPorts 80, 81)',
    ),
    (
        one(livenessProbe={"httpGet": {"host": "h"}}, lifecycle={"preStop": {"tcpSocket": {"host": "g"}}}),
        'probe or lifecycle host (container "a" uses probe or lifecycle hosts "g", "h")',
    ),
    (
        one(securityContext={"procMount": "Unmasked"}),
        'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
    ),
    ({**one(securityContext={"procMount": "Unmasked"}), "hostUsers": False}, ""),
    (
        {**two({"seLinuxOptions": {"type": "x", "user": "u"}}), "securityContext": {"seLinuxOptions": {"role": "r"}}},
        'seLinuxOptions (pod and containers "b", "a" set forbidden securityContext.seLinuxOptions: type "x"; '
        "user may not be set; role may not be set)",
    ),
    (
        {**one(), "securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        one(securityContext={"appArmorProfile": {"type": "Unconfined"}}),
        'forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")',
    ),
    (
        {**one(), "securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}},
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        {**one(), "securityContext": {"windowsOptions": {"hostProcess": True}}},
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    ),
]


@pytest.mark.parametrize(("spec", "why"), BASELINE)
def test_baseline(spec: Object, why: str) -> None:
    assert judged("privileged", spec) == ""
    assert judged("baseline", spec) == why


RESTRICTED = [
    (secure(), ""),
    (
        one(),
        'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ),
    (
        secure(capabilities={"add": ["NET_BIND_SERVICE", "CHOWN"]}),
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; '
        'container "a" must not include "CHOWN" in securityContext.capabilities.add)',
    ),
    (
        {**secure(), "volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "nfs": {}}, {"name": "x", "secret": {}}]},
        'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")',
    ),
    (
        {**secure(runAsNonRoot=False), "securityContext": {"runAsNonRoot": True}},
        'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)',
    ),
    ({**secure(runAsNonRoot=None), "securityContext": {"runAsNonRoot": True}}, ""),
    (secure(runAsUser=0), 'runAsUser=0 (container "a" must not set runAsUser=0)'),
    ({**secure(runAsUser=0, runAsNonRoot=None), "hostUsers": False}, ""),
    ({**one(securityContext={"runAsNonRoot": True}), "os": {"name": "windows"}}, ""),
]


@pytest.mark.parametrize(("spec", "why"), RESTRICTED)
def test_restricted(spec: Object, why: str) -> None:
    assert judged("restricted", spec) == why


UNMASKED = secure(procMount="Unmasked")
VERSIONS = [
    ("baseline", {**one(), "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}, 31, 32),
    ("baseline", one(securityContext={"seLinuxOptions": {"type": "container_engine_t"}}), 30, 31),
    ("restricted", {**one(securityContext={"runAsNonRoot": True}), "os": {"name": "windows"}}, 24, 25),
    ("baseline", {**UNMASKED, "hostUsers": False}, 34, 35),
]


@pytest.mark.parametrize(("level", "spec", "refused", "allowed"), VERSIONS)
def test_a_version_keeps_its_rules(level: str, spec: Object, refused: int, allowed: int) -> None:
    assert judged(level, spec, refused)
    assert judged(level, spec, allowed) == judged(level, spec, 99) == judged(level, spec) == ""


def test_old_versions_ask_less() -> None:
    assert "capabilities" not in judged("restricted", one(), 21)
    assert "AppArmor" in judged(
        "baseline", one(), 5, {"container.apparmor.security.beta.kubernetes.io/a": "unconfined"}
    )
    annotations = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    assert judged("baseline", one(), 18, annotations) == (
        'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    )
    assert judged("baseline", one(), 19, annotations) == ""


POLICIES: list[tuple[dict[str, str], tuple[str, str, str]]] = [
    ({}, ("privileged:latest", "privileged:latest", "privileged:latest")),
    (
        {"enforce": "baseline", "enforce-version": "v1.20"},
        ("baseline:v1.20", "privileged:latest", "baseline:v1.20"),
    ),
    (
        {"enforce": "baseline", "warn-version": "v1.30", "audit": "restricted"},
        ("baseline:latest", "restricted:latest", "baseline:v1.30"),
    ),
    ({"enforce": "baseline", "warn": "privileged"}, ("baseline:latest", "privileged:latest", "privileged:latest")),
    ({"enforce": "strict"}, ("restricted:latest", "privileged:latest", "privileged:latest")),
    ({"warn": "strict", "audit": "strict"}, ("privileged:latest", "privileged:latest", "privileged:latest")),
]


@pytest.mark.parametrize(("labels", "expected"), POLICIES)
def test_what_labels_ask(labels: dict[str, str], expected: tuple[str, str, str]) -> None:
    policy, _ = policy_of({LABEL + key: value for key, value in labels.items()})
    assert tuple(map(str, policy)) == expected


def namespace(**labels: str) -> tuple[str, Object]:
    metadata = {"name": "ns", "labels": {LABEL + key.replace("_", "-"): value for key, value in labels.items()}}
    return "namespaces", {"metadata": metadata, "status": {"phase": "Active"}}


async def admitted(cluster: Cluster, request: Request) -> Request:
    await Chain(cluster).admit(request)
    return request


async def test_a_pod_is_refused_by_what_is_enforced() -> None:
    cluster = Cluster(namespace(enforce="baseline", audit="restricted"), ACCOUNT)
    error = await refusal(cluster, create("pods", pod(hostNetwork=True)))
    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )
    asked = await admitted(cluster, create("pods", pod()))
    assert asked.annotations[LABEL + "enforce-policy"] == "baseline:latest"
    assert asked.annotations[LABEL + "audit-violations"].startswith(
        'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false ('
    )
    assert asked.warnings == []


async def test_templates_are_warned_of_and_let_in() -> None:
    cluster = Cluster(namespace(enforce="baseline", warn="baseline"), ACCOUNT)
    spec = {"template": {"metadata": {}, "spec": {**pod()["spec"], "hostPID": True}}}
    for resource in ("deployments", "statefulsets", "daemonsets", "replicasets"):
        asked = create(resource, {"metadata": {"name": "d"}, "spec": spec}, group="apps")
        await admitted(cluster, asked)
        assert asked.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)']
    cron = {"metadata": {"name": "d"}, "spec": {"jobTemplate": {"spec": spec}}}
    assert (await admitted(cluster, create("cronjobs", cron, group="batch"))).warnings


async def test_only_updates_that_matter_are_judged() -> None:
    cluster = Cluster(namespace(enforce="baseline"), ACCOUNT)
    bad = pod(hostNetwork=True, serviceAccountName="default")
    labelled = {**bad, "metadata": {"name": "p", "labels": {"a": "b"}}}
    await admitted(cluster, update("pods", labelled, bad))
    debugged = pod(hostNetwork=True, serviceAccountName="default", ephemeralContainers=[{"name": "d", "image": "i"}])
    error = await refusal(cluster, update("pods", debugged, bad, subresource="ephemeralcontainers"))
    assert "host namespaces" in error.message


async def test_labels_of_namespaces_are_checked() -> None:
    _, bad = namespace(enforce="strict", warn_version="1.2")
    error = await refusal(Cluster(), create("namespaces", bad, namespace=None))
    assert (error.code, error.message) == (
        422,
        f'Namespace "ns" is invalid: [metadata.labels[{LABEL}enforce]: Invalid value: "strict": must be one of '
        f'privileged, baseline, restricted, metadata.labels[{LABEL}warn-version]: Invalid value: "1.2": must be '
        '"latest" or "v1.x"]',
    )
    await admitted(Cluster(), update("namespaces", bad, bad, namespace=None))


async def test_a_stricter_label_warns_of_pods_that_are_there() -> None:
    pods = [
        ("pods", {**pod(hostNetwork=host), "metadata": {"name": name, "namespace": "ns"}})
        for name, host in (("c", True), ("a", True), ("b", True), ("fine", False))
    ]
    privileged = pod(containers=[{"name": "c", "image": "i", "securityContext": {"privileged": True}}])
    pods.append(("pods", {**privileged, "metadata": {"name": "d", "namespace": "ns"}}))
    (_, strict), (_, free) = namespace(enforce="baseline"), namespace()
    asked = await admitted(Cluster(*pods), update("namespaces", strict, free, namespace=None))
    assert asked.warnings == [
        'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): host namespaces",
        "d: privileged",
    ]
    assert not (await admitted(Cluster(*pods), update("namespaces", free, strict, namespace=None))).warnings
