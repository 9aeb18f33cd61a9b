"""The kubelet on a real node: API server, engine and network are the real ones, seen from outside only."""

import asyncio

import pytest
from world import QUICK, container, first, phase, ready, waits

from netproxy.links import newcomers
from nodeagent.kubelet import logrotate, names, podworker
from shim.client import resource as r

pytestmark = pytest.mark.needs_root


async def test_the_life_of_a_pod(node):
    told = (await node.client.get(r.NODES, "n1"))["status"]
    assert {c["type"]: c["status"] for c in told["conditions"]}["Ready"] == "True"
    lease = await node.client.get(r.LEASES, "n1", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "n1"

    await node.create("web")
    pod = await node.until("web", ready)
    assert pod["status"]["podIP"].startswith("10.99.0.")
    assert first(pod)["containerID"].startswith("kubeshim://")
    target = node.agent.kubelet.pods.container("default", "web", "c")
    assert (target.running, node.agent.kubelet.pods.log("default", "web", "c")) == (True, target.log_path)

    await node.client.delete(r.PODS, "web", "default")
    await node.until_gone("web")
    assert [reason for reason, _ in await node.events("web")] == ["Pulled", "Created", "Started", "Killing"]
    await wait_until(lambda: not node.agent.kubelet.pods.pods())
    assert await node.agent.engine.containers() == []
    assert list((node.settings.data_dir / "pods").iterdir()) == []


async def wait_until(true):
    """For what nobody tells of: look again until it is so."""
    async with asyncio.timeout(60):  # on a machine that others use too
        while not (await it if asyncio.iscoroutine(it := true()) else it):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_pods_that_end(node):
    await node.create("done", container(command=["true"]), restartPolicy="Never")
    script = "echo oops > /dev/termination-log; exit 3"
    await node.create("failed", container(command=["sh", "-c", script]), restartPolicy="Never")
    eater = container(command=["tail", "/dev/zero"], resources={"limits": {"memory": "16Mi"}})
    await node.create("eater", eater, restartPolicy="Never")
    await node.create("crash", container(command=["false"]))
    await node.create("bad", container(command=["/no/such"]), restartPolicy="Never")
    await node.create("late", activeDeadlineSeconds=1)

    await node.until("done", phase("Succeeded"))
    failed = first(await node.until("failed", phase("Failed")))["state"]["terminated"]
    assert (failed["exitCode"], failed["message"]) == (3, "oops\n")
    assert first(await node.until("eater", phase("Failed")))["state"]["terminated"]["reason"] == "OOMKilled"
    crash = first(await node.until("crash", waits("CrashLoopBackOff")))
    assert (crash["restartCount"], crash["lastState"]["terminated"]["exitCode"]) == (1, 1)
    assert first(await node.until("bad", phase("Failed")))["state"]["terminated"]["reason"] == "StartError"
    assert (await node.until("late", phase("Failed")))["status"]["reason"] == "DeadlineExceeded"
    await node.agent.kubelet.node.recorder.flush()
    (told,) = (await node.client.list(r.EVENTS, "default", field_selector="reason=DeadlineExceeded"))["items"]
    assert told["count"] == 4  # as upstream: noticed, asked to end, ended, let go of


async def test_what_a_watcher_sees(node):
    crashes, last = [], []

    def follow(old, new):
        pod = new or old
        if only := (pod["status"].get("containerStatuses") or [None])[0]:
            if pod["metadata"]["name"] == "crash":
                crashes.append((only["restartCount"], next(iter(only["state"]))))
            elif "terminated" in only["state"]:
                told = {c["type"]: c["status"] for c in pod["status"]["conditions"]}
                last.append((pod["status"]["phase"], told["PodReadyToStartContainers"]))

    node.pods.on_change(follow)
    await node.create("crash", container(command=["false"]))
    await node.create("deleted")
    await node.until("crash", waits("CrashLoopBackOff"))
    assert crashes[-2:] == [(1, "terminated"), (1, "waiting")]
    await node.until("deleted", ready)
    await node.client.delete(r.PODS, "deleted", "default")
    await node.until_gone("deleted")
    assert set(last) == {("Succeeded", "False")}


async def test_each_beginning_and_each_end_is_told_in_order(node, monkeypatch):
    """However long the API server takes to hear of it, and however short the lives are."""
    seen = []
    patch = node.agent.client.patch

    async def slow(*args, **kwargs):
        await asyncio.sleep(0.2)
        return await patch(*args, **kwargs)

    monkeypatch.setattr(node.agent.client, "patch", slow)

    def follow(old, new):
        if only := ((new or old)["status"].get("containerStatuses") or [None])[0]:
            seen.append((only["restartCount"], next(iter(only["state"]))))

    node.pods.on_change(follow)
    await node.create("crash", container(command=["false"]))
    await node.until("crash", waits("CrashLoopBackOff"))
    lives = [(attempt, state) for attempt in (0, 1) for state in ("running", "terminated")]
    assert list(dict.fromkeys(seen)) == [(0, "waiting"), *lives, (1, "waiting")]


async def test_a_container_whose_post_start_fails_never_ran_for_those_who_watch(node):
    seen = []

    def follow(old, new):
        for only in (new or old)["status"].get("containerStatuses") or ():
            seen.append((only["restartCount"], next(iter(only["state"]))))

    node.pods.on_change(follow)
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo out; echo err >&2; exit 3"]}}}
    created = await node.create("hooked", container(lifecycle=hook))
    failed = first(await node.until("hooked", waits("PostStartHookError")))
    assert set(seen) <= {(0, "waiting"), (1, "waiting")}
    command = "sh -c echo out; echo err >&2; exit 3"
    assert failed["state"]["waiting"]["message"] == (
        f'Exec lifecycle hook ([{command}]) for Container "c" in Pod "hooked_default({created["metadata"]["uid"]})" '
        f"failed - error: command '{command}' exited with 3: err\n, message: \"out\\nerr\\n\""
    )
    assert {"FailedPostStartHook", "Killing"} <= {reason for reason, _ in await node.events("hooked")}


async def test_the_end_of_one_container_has_all_begin_anew(node):
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    mounts = {"volumeMounts": [{"name": "e", "mountPath": "/e"}]}
    script = "test -e /e/again && exec sleep 1000; touch /e/again; exit 42"
    source = container("source", ["sh", "-c", script], restartPolicy="Never", restartPolicyRules=[rule], **mounts)
    init = container("i", ["sh", "-c", "echo $HOSTNAME"])
    volumes = [{"name": "e", "emptyDir": {}}]
    await node.create("whole", container(), source, initContainers=[init], volumes=volumes, restartPolicy="Never")

    def anew(pod):
        listed = [*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ())]
        return ready(pod) and [each["restartCount"] for each in listed] == [1, 1, 1]

    pod = await node.until("whole", anew)
    lasts = [each["lastState"]["terminated"]["reason"] for each in pod["status"]["containerStatuses"]]
    assert lasts == ["RestartingAllContainers"] * 2
    assert node.log("whole") == "whole\nwhole\n"  # what the forgotten lives wrote is kept


async def test_what_a_container_finds(node):
    await node.client.create(r.CONFIGMAPS, {"metadata": {"name": "cm"}, "data": {"k": "one", "E": "env"}}, "default")
    script = "; ".join(
        [
            "grep $(hostname) /etc/hosts",
            "cat /etc/resolv.conf /cm/k /sub /shared/from-init",
            "echo $POD $E $KUBERNETES_SERVICE_HOST",
            "test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token",
            "id -u; id -G; stat -f -c %T /mem",
            "until grep -q two /cm/k; do sleep 0.05; done; echo updated",
        ]
    )
    reader = container(
        command=["sh", "-c", script],
        env=[{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        envFrom=[{"configMapRef": {"name": "cm"}}],
        volumeMounts=[
            {"name": "cm", "mountPath": "/cm"},
            {"name": "cm", "mountPath": "/sub", "subPath": "k"},
            {"name": "shared", "mountPath": "/shared"},
            {"name": "mem", "mountPath": "/mem"},
        ],
    )
    writer = container("i", ["sh", "-c", "echo init > /shared/from-init"], volumeMounts=[reader["volumeMounts"][2]])
    await node.create(
        "finder",
        reader,
        initContainers=[writer],
        restartPolicy="Never",
        securityContext={"runAsUser": 1234, "fsGroup": 2000},
        volumes=[
            {"name": "cm", "configMap": {"name": "cm"}},
            {"name": "shared", "emptyDir": {}},
            {"name": "mem", "emptyDir": {"medium": "Memory"}},
        ],
    )
    ip = (await node.until("finder", ready))["status"]["podIP"]
    await wait_until(lambda: "tmpfs" in node.log("finder"))
    await node.client.patch(r.CONFIGMAPS, "cm", {"data": {"k": "two"}}, "default")
    await node.until("finder", phase("Succeeded"))
    assert node.log("finder").splitlines() == [
        f"{ip}\tfinder",
        "search default.svc.cluster.local svc.cluster.local cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5",
        "oneoneinit",
        "finder env 10.96.0.1",
        "token",
        "1234",
        "0 2000",
        "tmpfs",
        "updated",
    ]


async def test_probes_and_hooks(node):
    healthy = {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1}
    probed = container(
        command=["sh", "-c", "echo $$; trap 'exit 0' TERM; sleep 1000 & wait"],
        startupProbe={"exec": {"command": ["true"]}, "periodSeconds": 1},
        readinessProbe=healthy,
        livenessProbe={
            "exec": {"command": ["sh", "-c", "! test -e /tmp/sick"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
        lifecycle={"postStart": {"exec": {"command": ["touch", "/tmp/ok"]}}},
    )
    await node.create("probed", probed)
    pod = await node.until("probed", ready)
    engine, run = node.agent.engine, first(pod)["containerID"].rpartition("/")[2]
    process = await engine.exec(run, ["touch", "/tmp/sick"])
    await process.wait()
    await process.close()
    pod = await node.until("probed", lambda pod: ready(pod) and first(pod)["restartCount"] == 1)
    assert first(pod)["lastState"]["terminated"]["containerID"].endswith(run)
    events = await node.events("probed")
    assert ("Killing", "Container c failed liveness probe, will be restarted") in events
    assert ("Unhealthy", "Liveness probe failed: ") in events

    refused = container(readinessProbe={"tcpSocket": {"port": 1}, "periodSeconds": 1})
    await node.create("refused", refused)
    pod = await node.until("refused", lambda pod: pod["status"].get("podIP") and first(pod)["started"])
    expected = f"Readiness probe failed: dial tcp {pod['status']['podIP']}:1: connect: connection refused"

    async def told():
        return ("Unhealthy", expected) in await node.events("refused")

    await wait_until(told)


async def test_a_server_is_ready_as_soon_as_it_listens(node):
    listen = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
    probe = {"httpGet": {"port": 8000}, "periodSeconds": 600}
    await node.create("server", container(command=["python3", "-c", listen], readinessProbe=probe))
    await node.until("server", ready)
    assert "Unhealthy" not in [reason for reason, _ in await node.events("server")]


async def test_a_large_log_goes_on_in_a_new_file(node):
    await node.create("talker", container(command=["sh", "-c", "while :; do echo words; sleep 0.01; done"]))
    await node.until("talker", ready)
    await wait_until(lambda: len(node.log("talker")) > 20)
    path = node.agent.kubelet.pods.log("default", "talker", "c")
    kubelet = node.agent.kubelet
    await logrotate.rotate(kubelet.node.inventory, node.agent.engine, 10)
    await wait_until(lambda: path.exists() and path.stat().st_size)
    assert len(list(path.parent.glob("0.log.*"))) == 1


async def test_what_is_missing_is_waited_for(node):
    await node.create("image", container(image="no.such/x:1"))
    await node.create("config", container(envFrom=[{"configMapRef": {"name": "later"}}]))
    volumes = [{"name": "v", "secret": {"secretName": "later"}}, {"name": "w", "configMap": {"name": "later"}}]
    await node.create("secret", volumes=volumes)
    await node.until("image", waits("ErrImagePull"))
    await node.until("image", waits("ImagePullBackOff"))
    await node.until("config", waits("CreateContainerConfigError"))
    await wait_until(lambda: node.events("secret"))
    assert set(await node.events("secret")) == {
        ("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "later" not found'),
        ("FailedMount", 'MountVolume.SetUp failed for volume "w" : configmap "later" not found'),
    }
    await _assert_sandboxes_made_ahead_are_not_seen(node, volumes)
    await node.client.create(r.CONFIGMAPS, {"metadata": {"name": "later"}}, "default")
    await node.client.create(r.SECRETS, {"metadata": {"name": "later"}}, "default")
    await node.until("config", ready)
    await node.until("secret", ready)


async def _assert_sandboxes_made_ahead_are_not_seen(node, volumes):
    status = node.pods.get("default/secret")["status"]
    assert "podIP" not in status
    assert ("PodReadyToStartContainers", "False") in {(c["type"], c["status"]) for c in status["conditions"]}
    uid = (await node.create("never", volumes=volumes))["metadata"]["uid"]
    await wait_until(lambda: node.events("never"))
    await wait_until(lambda: _has_sandbox(node, uid))
    await node.client.delete(r.PODS, "never", "default")
    await node.until_gone("never")
    await wait_until(lambda: _has_no_sandbox(node, uid))


async def _has_sandbox(node, uid):
    return uid in {each.labels[names.POD_UID] for each in await node.agent.engine.sandboxes()}


async def _has_no_sandbox(node, uid):
    return not await _has_sandbox(node, uid)


async def test_a_new_agent_goes_on_where_the_last_one_ended(node):
    await node.create("keep", container(readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1}))
    await node.create("gone")
    before = await node.until("keep", ready)
    await node.until("gone", ready)
    told = (await node.client.get(r.NODES, "n1"))["status"]["conditions"]
    await node.stop_agent()
    await node.client.delete(r.PODS, "gone", "default", grace_period=0)
    agent = await node.start_agent()
    await wait_until(lambda: agent.kubelet.node.inventory.pods() == {names.uid_of(before)})
    await node.create("next")
    await node.until("next", ready)
    assert node.pods.get("default/keep") == before  # nobody noticed
    now = (await node.client.get(r.NODES, "n1"))["status"]["conditions"]
    assert [c["lastTransitionTime"] for c in now] == [c["lastTransitionTime"] for c in told]

    await node.reboot()
    await node.start_agent()
    after = await node.until("keep", lambda pod: ready(pod) and first(pod)["restartCount"] == 1)
    assert first(after)["containerID"] != first(before)["containerID"]
    why = ("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
    assert (await node.events("keep")).count(why) == 1


async def test_a_shorter_grace_overtakes_a_longer_one(node):
    stubborn = container(command=["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    await node.create("stubborn", stubborn, terminationGracePeriodSeconds=600)
    await node.until("stubborn", ready)
    await node.client.delete(r.PODS, "stubborn", "default")
    await node.until("stubborn", lambda pod: bool(pod["metadata"].get("deletionTimestamp")))
    await node.client.delete(r.PODS, "stubborn", "default", grace_period=1)
    await node.until_gone("stubborn")


async def test_a_runtime_class_is_one_that_the_node_has(node):
    for name in ("runc", "unheard-of"):
        await node.client.create(r.RUNTIMECLASSES, {"metadata": {"name": name}, "handler": name})
        await node.create(name, container(), runtimeClassName=name)
    await node.until("runc", ready)
    why = 'failed to get sandbox runtime: no runtime for "unheard-of" is configured'
    said = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {why}"

    async def told():
        return ("FailedCreatePodSandBox", said) in await node.events("unheard-of")

    await wait_until(told)


async def test_a_pod_can_have_users_of_its_own(node):
    assert (await node.client.get(r.NODES, "n1"))["status"]["runtimeHandlers"][0]["features"]["userNamespaces"] is True
    told = "cat /proc/self/uid_map; stat -c %u:%g /v/* /run/secrets/kubernetes.io/serviceaccount/..data/token"
    script = container(command=["sh", "-c", f"touch /v/new; {told}; {QUICK[2]}"])
    script["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    volume = {"name": "v", "emptyDir": {"medium": "Memory"}}
    await node.create("own", script, hostUsers=False, volumes=[volume], securityContext={"fsGroup": 7, "runAsUser": 0})
    pod = await node.until("own", ready)
    user = pod["status"]["containerStatuses"][0]["user"]["linux"]
    assert (user["uid"], user["gid"], sorted(user["supplementalGroups"])) == (0, 0, [0, 7])
    await wait_until(lambda: "0:7" in node.log("own"))
    inside, outside, count = node.log("own").splitlines()[0].split()
    assert (inside, count, outside == "0") == ("0", "65536", False)
    (made,) = node.data.glob(f"**/pods/{pod['metadata']['uid']}/volumes/**/new")
    assert made.stat().st_uid == 0
    assert node.agent.kubelet.node.own_users == {"started": 1}


async def test_system_calls_are_filtered_unless_a_container_says_otherwise(node):
    told = {"plain": {}, "free": {"seccompProfile": {"type": "Unconfined"}}, "almighty": {"privileged": True}}
    script = ["sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true 2>/dev/null; echo $?"]
    for name, how in told.items():
        await node.create(name, container(command=script, securityContext=how), restartPolicy="Never")
        await node.until(name, phase("Succeeded"))
    said = {name: node.log(name).split() for name in told}
    free = ["Seccomp:", "0", "0"]
    assert said["plain"] == ["Seccomp:", "2", "1"]
    assert (said["free"], said["almighty"]) == (free, free)


async def test_a_machine_without_user_namespaces_says_so(node):
    node.agent.engine.no_own_users = "[Errno 22] not here"
    await node.create("alone", hostUsers=False)
    await wait_until(lambda: node.events("alone"))
    said = "can't set `spec.hostUsers: false`, runtime does not support user namespaces: [Errno 22] not here"
    assert ("FailedCreatePodSandBox", f"Failed to create pod sandbox: {said}") in await node.events("alone")
    assert node.agent.kubelet.node.own_users["failed"] >= 1


async def test_many_pods_at_once(node):
    await asyncio.gather(*(node.create(f"p{i}") for i in range(30)))
    pods = await asyncio.gather(*(node.until(f"p{i}", ready) for i in range(30)))
    assert len({pod["status"]["podIP"] for pod in pods}) == 30
    await node.client.delete_collection(r.PODS, "default")
    await asyncio.gather(*(node.until_gone(f"p{i}") for i in range(30)))


async def test_a_pod_that_is_held_back_tells_its_address_to_those_who_let_it_through(node):
    await asyncio.to_thread(newcomers.begin)
    try:
        await node.create("new")
        told = await node.until("new", lambda pod: pod["status"].get("podIP"))
        assert first(told)["state"] == {"waiting": {"reason": "ContainerCreating"}}
        await asyncio.to_thread(newcomers.admit, [told["status"]["podIP"]])
        await node.until("new", ready)
    finally:
        await asyncio.to_thread(newcomers.end)


async def test_of_a_pod_that_ends_at_once_only_its_end_is_told(node, monkeypatch):
    told = []
    node.pods.on_change(lambda old, new: told.append(new) if new else None)

    async def states_told(name):
        """What its container did in each status that was told since it was to go."""
        await node.create(name)
        await node.until(name, ready)
        told.clear()
        await node.client.delete(r.PODS, name, "default")
        await node.until_gone(name)
        aware = [pod for pod in told if pod["status"]["observedGeneration"] == pod["metadata"]["generation"]]
        return [next(iter(first(pod)["state"])) for pod in aware if pod["metadata"]["deletionGracePeriodSeconds"]]

    monkeypatch.setattr(podworker, "ENDS_AT_ONCE", 60.0)
    assert await states_told("quick") == ["terminated"]
    monkeypatch.setattr(podworker, "ENDS_AT_ONCE", 0.0)
    assert await states_told("slow") == ["running", "terminated"]
