"""Pods that this node does not admit: why, and what becomes of them."""

import pytest
from stories import container, pod
from world import container as real_container
from world import phase, ready

from nodeagent.kubelet import admission, apparmor, resources, sysctls
from nodeagent.kubelet.status import Verdict
from shim.client import resource as r

NODE = {
    "metadata": {"name": "n1", "labels": {"disk": "ssd"}},
    "spec": {"taints": [{"key": "gone", "effect": "NoExecute"}, {"key": "full", "effect": "NoSchedule"}]},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2", "example.com/lamp": "1"}},
}
HERE = {"tolerations": [{"key": "gone", "operator": "Exists"}]}


def asking(**requests):
    return container(resources={"requests": requests})


def on_port(port, **more):
    return container(ports=[{"containerPort": 80, "hostPort": port, **more}])


@pytest.mark.parametrize(
    ("asked", "others", "reason", "message"),
    [
        (pod(asking(cpu="1"), **HERE), [pod(asking(cpu="1"))], None, None),
        (
            pod(asking(cpu="1500m"), **HERE),
            [pod(asking(cpu="600m"))],
            "OutOfcpu",
            "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000",
        ),
        (
            pod(asking(**{"example.com/lamp": "2"}), **HERE),
            [],
            "OutOfexample.com/lamp",
            "Node didn't have enough resource: example.com/lamp, requested: 2, used: 0, capacity: 1",
        ),
        (pod(asking(**{"example.com/unknown": "1"}), **HERE), [], None, None),
        (
            pod(**HERE),
            [pod(), pod()],
            "OutOfpods",
            "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2",
        ),
        (
            pod(nodeSelector={"disk": "tape"}, **HERE),
            [],
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        ),
        (
            pod(on_port(8080), **HERE),
            [pod(on_port(8080, hostIP="127.0.0.1"))],
            "NodePorts",
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        ),
        (pod(on_port(8080, protocol="UDP"), **HERE), [pod(on_port(8080))], None, None),
        (
            pod(),
            [],
            "TaintToleration",
            "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
        ),
    ],
)
def test_who_is_not_admitted_and_why(asked, others, reason, message):
    requested = [resources.pod_totals(other, "requests") for other in others]
    refused = admission.refusal(asked, NODE, others, requested)
    assert (refused and refused.reason, refused and refused.message) == (reason, message)


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("net.ipv4.tcp_syncookies", {}, None),
        ("net/ipv4/tcp_syncookies", {}, None),
        ("kernel.msgmax", {}, '"kernel.msgmax" not allowlisted'),
        ("vm.swappiness", {}, '"vm.swappiness" not allowlisted'),
        ("net.core.somaxconn", {}, None),
        ("net/ipv4/conf/eth0.1/forwarding", {}, None),
        ("net.ipv6.conf.all.forwarding", {}, '"net.ipv6.conf.all.forwarding" not allowlisted'),
        ("net.core.somaxconn", {"hostNetwork": True}, '"net.core.somaxconn" not allowed with host Net enabled'),
        ("kernel.shm_rmid_forced", {"hostNetwork": True}, None),
        ("kernel.shm_rmid_forced", {"hostIPC": True}, '"kernel.shm_rmid_forced" not allowed with host IPC enabled'),
    ],
)
def test_which_kernel_parameters_a_pod_may_set(name, more, why):
    asked = pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **more)
    refused = sysctls.refusal(asked, ("net.core.somaxconn", "net.ipv4.conf.*"))
    expected = Verdict("SysctlForbidden", f"forbidden sysctl: {why}") if why else None
    assert refused == expected


def test_nobody_can_allow_what_is_the_whole_machines():
    sysctls.check_allowed(["kernel.shm*", "net.*", "fs.mqueue.msg_max"])
    with pytest.raises(ValueError, match="not known to be namespaced"):
        sysctls.check_allowed(["vm.*"])


@pytest.mark.parametrize(
    ("profile", "without", "with_it"),
    [
        ("Unconfined", None, None),
        ("RuntimeDefault", "AppArmor is not enabled on the host", None),
        ("Localhost", "AppArmor is not enabled on the host", "this node applies no profiles"),
    ],
)
def test_who_depends_on_apparmor(profile, without, with_it):
    words = {"Unconfined": "unconfined", "RuntimeDefault": "runtime/default", "Localhost": "localhost/x"}
    context = {"securityContext": {"appArmorProfile": {"type": profile, "localhostProfile": "x"}}}
    noted = pod()
    noted["metadata"]["annotations"] = {"container.apparmor.security.beta.kubernetes.io/c": words[profile]}
    for asked in (pod(**context), pod(container(**context)), pod(init=[container(**context)]), noted):
        for enabled, why in ((False, without), (True, with_it)):
            expected = Verdict("AppArmor", f"Cannot enforce AppArmor: {why}") if why else None
            assert apparmor.refusal(asked, enabled=enabled) == expected
    assert apparmor.refusal(pod(), enabled=False) is None


async def test_a_pod_that_is_not_admitted_has_failed_and_nothing_was_made_for_it(node):
    await node.create("first", real_container(ports=[{"containerPort": 80, "hostPort": 21017}]))
    await node.until("first", ready)
    await node.create("second", real_container(ports=[{"containerPort": 81, "hostPort": 21017}]))
    failed = await node.until("second", phase("Failed"))
    why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    assert (failed["status"]["reason"], failed["status"]["message"]) == ("NodePorts", f"Pod was rejected: {why}")
    assert "containerStatuses" not in failed["status"]
    assert ("NodePorts", why) in await node.events("second")

    await node.client.patch(r.NODES, "n1", {"metadata": {"labels": {"disk": "ssd"}}})
    await node.create("third", nodeSelector={"disk": "ssd"})  # however old this node's copy of itself is
    await node.until("third", ready)
    for name in ("first", "second", "third"):
        await node.client.delete(r.PODS, name, "default")
        await node.until_gone(name)
