"""An agent killed at any step of its own, a disk without room: the next agent, or the next try, goes on from there."""

import asyncio
import contextlib
import json
import pickle
import sys

import pytest
from world import container, first, phase, ready

from nodeagent.linux import libc, mounts
from shim.client import resource as r

pytestmark = pytest.mark.needs_root

_AGENT = """
import asyncio, os, pickle, signal, sys
from netproxy.links import PodLinks
from nodeagent.engine import Engine
from nodeagent.images import Images
from nodeagent.kubelet.agent import Kubelet
from nodeagent.linux import steps
from shim.client import Client
settings, fatal = pickle.loads(bytes.fromhex(sys.argv[1])), sys.argv[2]
begin = steps._Step.__enter__
def entering(step):
    if step._what == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return begin(step)
steps._Step.__enter__ = entering
async def main():
    images = Images(settings.image_dir)
    engine = Engine(settings.data_dir, settings.run_dir, settings.cgroup_root, images)
    await engine.start()
    client = Client.from_kubeconfig(settings.kubeconfig)
    network = PodLinks(settings.run_dir / "network", settings.node_ip)
    await Kubelet(settings, client, engine, images, network).run(lambda: None)
asyncio.run(main())
"""


async def doomed(node, step):
    """An agent that dies as it reaches this step."""
    told = pickle.dumps(node.settings).hex()
    return await asyncio.create_subprocess_exec(sys.executable, "-c", _AGENT, told, step)


async def test_an_agent_is_killed_at_each_of_its_steps(node):
    volume = {"name": "v", "emptyDir": {"medium": "Memory"}}
    of_container = container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
    await node.create("undisturbed", of_container, volumes=[volume])
    pod = await node.until("undisturbed", ready)
    kept = node.settings.data_dir / "pods" / pod["metadata"]["uid"] / "steps.json"
    happened = ("this node hears of the pod", "all is ready")
    async with asyncio.timeout(60):
        while not kept.exists():  # noqa: ASYNC110  # it is written when all has come to rest
            await asyncio.sleep(0.02)
    steps = [each["what"] for each in json.loads(kept.read_text()) if each["what"] not in happened]
    assert len(steps) >= 6
    await node.client.delete(r.PODS, "undisturbed", "default")
    await node.until_gone("undisturbed")
    await node.stop_agent()
    for number, step in enumerate(steps):
        dying = await doomed(node, step)
        await node.create(f"p{number}", of_container, volumes=[volume])
        async with asyncio.timeout(60):
            assert await dying.wait() == -9, step
    await node.start_agent()
    for number in range(len(steps)):
        pod = await node.until(f"p{number}", ready)
        assert first(pod)["restartCount"] <= 1  # one that was made but never began counts
    containers = await node.agent.engine.containers()
    assert [each.phase for each in containers].count("running") == len(steps)
    assert len([each for each in await node.agent.engine.sandboxes() if each.ready]) == len(steps)
    for number in range(len(steps)):
        await node.client.delete(r.PODS, f"p{number}", "default")
    for number in range(len(steps)):
        await node.until_gone(f"p{number}")


async def test_an_agent_is_killed_while_a_pod_ends(node):
    slow = container(command=["sh", "-c", "trap 'echo asked; sleep 1; exit 0' TERM; sleep 1000 & wait"])
    await node.create("slow", slow)
    await node.until("slow", ready)
    await node.stop_agent()
    other = await doomed(node, "no such step")
    await node.client.delete(r.PODS, "slow", "default")
    async with asyncio.timeout(60):
        while "asked" not in node.log("slow"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    other.kill()
    await other.wait()
    await node.start_agent()
    await node.until_gone("slow")
    async with asyncio.timeout(60):
        while await node.agent.engine.containers():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_on_a_full_disk_pods_wait_until_there_is_room(node):
    await node.create("before")
    await node.until("before", ready)
    pods = str(node.settings.data_dir / "pods")
    libc.mount("tmpfs", pods, "tmpfs", 0, "size=64k")
    try:
        filler = node.settings.data_dir / "pods" / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        await node.create("during")
        await node.until_event("during", "FailedCreatePodSandBox")
        assert "No space left on device" in dict(await node.events("during"))["FailedCreatePodSandBox"]
        assert ready(await node.until("before", phase("Running")))
        filler.unlink()
        await node.until("during", ready)
        await node.client.delete(r.PODS, "during", "default")
        await node.until_gone("during")
    finally:
        libc.umount(pods, mounts.DETACH)
