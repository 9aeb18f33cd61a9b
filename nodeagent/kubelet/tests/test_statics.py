"""Static pods on a real node: with an API server that shows them, and without one."""

import json

import pytest
from world import QUICK, container, first, ready

from nodeagent.kubelet import names
from shim.client import resource as r

pytestmark = pytest.mark.needs_root


class Folder:
    """The node's folder of manifests."""

    def __init__(self, node):
        self.path = node.data / "manifests"
        self.path.mkdir()

    def put(self, name, *command, **spec):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": [container(command=list(command) or QUICK)], **spec},
        }
        draft = self.path / f".{name}"
        draft.write_text(json.dumps(pod))
        draft.rename(self.path / f"{name}.json")

    def remove(self, name):
        (self.path / f"{name}.json").unlink()


def uid(pod):
    return pod["metadata"]["uid"]


def another_than(old):
    return lambda pod: uid(pod) != uid(old) and ready(pod)


def id_of(pod):
    return first(pod)["containerID"]


async def test_the_life_of_a_static_pod(node):
    folder = Folder(node)
    folder.put("web", priorityClassName="system-node-critical")
    mirror = await node.until("web-n1", ready)
    assert uid(mirror) != names.annotation(mirror, names.CONFIG_HASH)
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert mirror["status"]["podIP"].startswith("10.99.0.")
    assert mirror["spec"]["priority"] == 2_000_001_000
    assert "observedGeneration" not in mirror["status"]
    target = node.agent.kubelet.pods.container("default", "web-n1", "c")
    assert target.running  # logs and exec find it by the mirror's name

    # who deletes the mirror deletes only that
    for grace in (0, 30):
        await node.client.delete(r.PODS, "web-n1", "default", grace_period=grace)
        again = await node.until("web-n1", another_than(mirror))
        assert id_of(again) == id_of(mirror)
        mirror = again

    # another file is another pod, which begins when the first has ended
    folder.put("web", "sh", "-c", "trap 'exit 0' TERM; echo second; sleep 1000 & wait")
    second = await node.until("web-n1", another_than(mirror))
    assert second["spec"]["containers"][0]["command"][-1].startswith("trap 'exit 0' TERM; echo second")
    assert id_of(second) != id_of(mirror)

    folder.remove("web")
    await node.until_gone("web-n1")
    assert await node.agent.engine.containers() == []
    assert list((node.settings.data_dir / "pods").iterdir()) == []


async def test_a_file_that_comes_back_while_its_pod_ends_counts_as_a_restart(node):
    folder = Folder(node)
    slow = ("sh", "-c", "trap 'sleep 1; exit 0' TERM; sleep 1000 & wait")
    folder.put("web", *slow)
    before = await node.until("web-n1", ready)
    folder.remove("web")
    await node.until_event("web-n1", "Killing")
    folder.put("web", *slow)
    after = await node.until("web-n1", lambda pod: ready(pod) and id_of(pod) != id_of(before))
    assert first(after)["restartCount"] == 1


async def test_static_pods_need_no_api_server(node, tmp_path):
    folder = Folder(node)
    folder.put("early")
    told = await node.until("early-n1", ready)
    await node.stop_agent()
    text = node.settings.kubeconfig.read_text()
    nowhere = tmp_path / "nowhere.kubeconfig"
    nowhere.write_text(text.replace(f"127.0.0.1:{node.port}", "127.0.0.1:1"))

    # the agent is started anew while the server is away: what ran runs on
    await node.start_agent(nowhere)
    folder.put("late")
    late = await node.until_running("late-n1")
    assert node.agent.kubelet.pods.container("default", "early-n1", "c").container in id_of(told)
    await node.reboot()

    # and after a reboot too
    await node.start_agent(nowhere)
    again = await node.until_running("late-n1")
    assert again.container != late.container
    await node.until_running("early-n1")
    await node.stop_agent()

    # the server hears of it all when it is back
    await node.start_agent()
    caught_up = await node.until("late-n1", ready)
    assert id_of(caught_up).endswith(again.container)
    assert caught_up["status"]["startTime"]
    early = await node.until("early-n1", lambda pod: ready(pod) and id_of(pod) != id_of(told))
    assert first(early)["restartCount"] == 1
