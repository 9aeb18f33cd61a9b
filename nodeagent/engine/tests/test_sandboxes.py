"""What a sandbox's containers share, and what they do not."""

from __future__ import annotations

import os
import socket

import pytest

from nodeagent.engine.contract import EngineError, SandboxSpec
from nodeagent.linux import namespaces


async def test_network_is_the_sandboxs_with_loopback_up(node):
    await node.sandbox()
    await node.run("cat /sys/class/net/lo/operstate; ls /sys/class/net; ping -c1 -W1 127.0.0.1 >/dev/null && echo pong")
    assert node.log().split() == ["unknown", "lo", "pong"]
    path = await node.engine.netns_of("pod")
    assert os.stat(path).st_ino != namespaces.identity("net")
    with namespaces.entered(path, namespaces.NET):
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
    assert os.stat(path).st_ino != namespaces.identity("net")


async def test_containers_of_a_sandbox_share_network_ipc_and_name(node):
    await node.sandbox()
    script = "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done"
    await node.start("sleep 1000", "one")  # alive: else the next one may get its namespaces' numbers
    await node.start("sleep 1000", "two")
    await node.exec("sh", "-c", "echo x > /dev/shm/two", name="two")
    one, two = [(await node.exec("sh", "-c", script, name=name))[1].split() for name in ("one", "two")]
    assert one[:3] == two[:3]
    assert one[3] != two[3]
    assert one[4] != two[4]
    assert (await node.exec("cat", "/dev/shm/two", name="one"))[1] == "x\n"


async def test_host_namespaces(node):
    await node.sandbox(host_network=True, host_ipc=True, host_pid=True)
    await node.run("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid; hostname")
    here = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "ipc", "pid")]
    assert node.log().split() == [*here, "host-pod"]
    assert (await node.engine.sandboxes())[0].netns == ""
    assert os.stat(await node.engine.netns_of("pod")).st_ino == namespaces.identity("net")


async def test_shared_pid_namespace(node):
    await node.sandbox(share_pid=True)
    await node.start("sleep 1000", "one")
    await node.run("cat /proc/1/comm; ps | grep -c 'sleep 1000'; ls -l /proc/1/fd >/dev/null && echo seen", "two")
    assert node.log("two").split()[:1] == ["pause"]
    assert int(node.log("two").split()[1]) >= 1
    assert (await node.engine.sandboxes())[0].ready
    await node.engine.stop_sandbox("pod")
    assert not (await node.engine.sandboxes())[0].ready
    assert (await node.state("one")).exit_code == 137


async def test_children_of_a_container_in_a_shared_pid_namespace_go_with_it(node):
    await node.sandbox(share_pid=True)
    await node.start("sleep 1000", "other")
    await node.run("sleep 999 & echo started", "parent")
    _, out, _ = await node.exec("ps", name="other")
    assert "sleep 1000" in out
    assert "sleep 999" not in out


async def test_sysctls_are_the_sandboxs(node):
    await node.sandbox(sysctls=(("net.ipv4.ip_unprivileged_port_start", "80"), ("kernel.shm_rmid_forced", "1")))
    await node.run("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced")
    assert node.log().split() == ["80", "1"]


async def test_a_sysctl_that_is_none_fails_the_sandbox_and_leaves_nothing(node):
    with pytest.raises(EngineError, match=r"net/no/such"):
        await node.sandbox(sysctls=(("net.no.such", "1"),))
    assert await node.engine.sandboxes() == []


async def test_stop_and_remove_can_be_repeated(node):
    await node.sandbox()
    await node.start("sleep 100")
    netns = await node.engine.netns_of("pod")
    for _ in range(2):
        await node.engine.stop_sandbox("pod")
    assert not (await node.engine.sandboxes())[0].ready
    assert not os.path.exists(netns)
    for _ in range(2):
        await node.engine.remove_sandbox("pod")
    assert await node.engine.sandboxes() == []
    assert await node.engine.containers() == []
    assert os.listdir(node.data_dir / "sandboxes") == []


async def test_a_new_sandbox_of_the_same_pod_keeps_its_cgroup(node):
    for name in ("first", "second"):
        await node.engine.run_sandbox(SandboxSpec(name, "h", "kubepods/same"))
    await node.start("sleep 100", sandbox="second")
    await node.engine.remove_sandbox("first")
    assert (await node.engine.usage("main"))["pids"] == 1


async def test_labels_come_back(node):
    await node.engine.run_sandbox(SandboxSpec("pod", "h", "kubepods/pod", labels={"a": "b"}))
    assert (await node.engine.sandboxes())[0].labels == {"a": "b"}
    await node.restart()
    assert (await node.engine.sandboxes())[0].labels == {"a": "b"}


async def test_a_container_beside_another_sees_its_processes_and_only_those(node):
    await node.sandbox()
    await node.start("exec sleep 1000", "app")
    await node.start("exec sleep 999", "other")
    await node.run("cat /proc/1/cmdline | tr '\\0' ' '; ps", "debug", pid_of="app")
    assert node.log("debug").splitlines()[0].startswith("sleep 1000")
    assert "sleep 999" not in node.log("debug")
    await node.start("exec sleep 998", "second", pid_of="app")
    await node.engine.stop_container("app", 0)
    assert (await node.exited("second")).exit_code == 137  # a pid namespace goes with its first process


async def test_a_container_beside_one_that_does_not_run_is_refused(node):
    await node.sandbox()
    await node.run("true", "gone")
    with pytest.raises(EngineError, match="not running"):
        await node.start("true", "debug", pid_of="gone")
