"""What a pod may not exceed, on a real node; and what the node keeps from all of them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from world import container, first, phase, ready

from nodeagent.kubelet import nodeinfo
from nodeagent.linux import cgroups
from nodeagent.settings import NodeAgentSettings
from shim.api import quantity

GROW = "x=0123456789abcdef; while true; do x=$x$x; done"


def settings(tmp_path, **more):
    named = ("kubeconfig", "data_dir", "image_dir", "run_dir", "client_ca", "tls_cert", "tls_key")
    texts = {"node_name": "n1", "node_ip": "192.0.2.1", "cgroup_root": "c"}
    return NodeAgentSettings(**dict.fromkeys(named, tmp_path), **texts, **more)


def test_what_is_reserved_and_what_evictions_keep_free_is_not_allocatable(tmp_path):
    has = {"cpu": "4", "memory": "4194304Ki", "ephemeral-storage": "1048576Ki", "pods": "110"}
    flags = {"kube_reserved": "cpu=100m,memory=200Mi,pid=100", "system_reserved": "cpu=400m,ephemeral-storage=1Mi"}
    some = settings(tmp_path, eviction_hard="memory.available<96Mi,nodefs.available<10%", **flags)
    found = nodeinfo.allocatable(has, some)
    assert found["cpu"] == "3500m"
    assert quantity.parse(found["memory"]).value == (4096 - 200 - 96) << 20
    assert quantity.parse(found["ephemeral-storage"]).value == (1 << 30) - (1 << 30) // 10 - (1 << 20)
    assert found["pods"] == "110"
    pages = {**has, "hugepages-2Mi": "64Mi", "hugepages-1Gi": "0"}  # and so are huge pages no memory any more
    assert quantity.parse(nodeinfo.allocatable(pages, some)["memory"]).value == (4096 - 200 - 96 - 64) << 20
    room = nodeinfo.room(has, some)  # for what evictions keep free somebody has to be there who is sent away
    assert (room["cpu"].milli, room["memory"].value) == (3500, (4096 - 200) << 20)
    assert room["pid"].value == nodeinfo.most_processes() - 100


def test_only_what_there_is_can_be_reserved(tmp_path):
    with pytest.raises(ValueError, match="cannot reserve 'memry', only cpu, memory, ephemeral-storage, pid"):
        settings(tmp_path, kube_reserved="memry=1Gi").reserved()


@pytest.mark.needs_root
async def test_a_container_is_oom_killed_too_when_only_a_child_was(node):
    limits = {"limits": {"memory": "32Mi"}}
    command = ["sh", "-c", f"sh -c '{GROW}' & wait $!"]
    await node.create("parent", container(command=command, resources=limits), restartPolicy="Never")
    ended = first(await node.until("parent", phase("Failed")))["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


@pytest.mark.needs_root
async def test_a_pod_has_no_more_processes_than_the_node_allows(node):
    kubelet = node.agent.kubelet.node
    kubelet.settings = replace(kubelet.settings, pod_pids_limit=12)
    many = "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; echo all; wait"
    await node.create("many", container(command=["sh", "-c", many]), restartPolicy="Never")
    await node.create("other")
    failed = await node.until("many", lambda pod: phase("Failed")(pod) or "fork" in node.log("many"))
    assert "all" not in node.log("many")
    await node.until("other", ready)
    folder = cgroups.detect().procs_files(f"{kubelet.settings.cgroup_root}/kubepods/besteffort")[0].rpartition("/")[0]
    assert Path(folder, f"pod{failed['metadata']['uid']}", "pids.max").read_text() == "12\n"
    assert os.path.exists(folder)
