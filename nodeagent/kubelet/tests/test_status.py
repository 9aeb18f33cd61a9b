"""Statuses as values, in the words of a real kubelet."""

import itertools

from stories import NOW, container, ended, pod, run, seen

from nodeagent.kubelet.observed import Health, Waiting
from nodeagent.kubelet.plan import DEADLINE
from nodeagent.kubelet.resize import Resizing
from nodeagent.kubelet.status import Verdict, overtakes, pod_status

TIME = "2027-01-15T08:00:00Z"  # NOW
LATER = "2027-01-15T08:01:00Z"
ENDED = {"finishedAt": TIME, "startedAt": TIME}


def status(a_pod, observed, *, previous=None, now=NOW, **more):
    previous = a_pod["status"] if previous is None else previous
    return pod_status(a_pod, observed, previous=previous, host_ip="192.0.2.2", now=now, **more)


def conditions(of):
    return {c["type"]: (c["status"], c.get("reason"), c.get("message")) for c in of["conditions"]}


def test_a_pod_that_was_just_bound():
    mounts = [{"name": "t", "mountPath": "/t", "readOnly": True}]
    unready = {"reason": "ContainersNotReady", "message": "containers with unready status: [c]"}
    common = {"lastProbeTime": None, "lastTransitionTime": TIME, "observedGeneration": 1}
    assert status(pod(container(volumeMounts=mounts)), seen(sandbox=False)) == {
        "phase": "Pending",
        "observedGeneration": 1,
        "hostIP": "192.0.2.2",
        "hostIPs": [{"ip": "192.0.2.2"}],
        "qosClass": "BestEffort",
        "startTime": TIME,
        "resources": {},
        "conditions": [
            {"type": "PodReadyToStartContainers", "status": "False", **common},
            {"type": "Initialized", "status": "True", **common},
            {"type": "Ready", "status": "False", **common, **unready},
            {"type": "ContainersReady", "status": "False", **common, **unready},
            {"type": "PodScheduled", "status": "True", **common},
        ],
        "containerStatuses": [
            {
                "name": "c",
                "image": "busybox",
                "imageID": "",
                "restartCount": 0,
                "ready": False,
                "started": False,
                "state": {"waiting": {"reason": "ContainerCreating"}},
                "lastState": {},
                "volumeMounts": [{**mounts[0], "recursiveReadOnly": "Disabled"}],
            }
        ],
    }


def test_the_address_is_told_with_the_first_container():
    made = status(pod(), seen())
    assert conditions(made)["PodReadyToStartContainers"][0] == "True"
    assert "podIP" not in made
    assert status(pod(), seen(waiting={"c": Waiting("ErrImagePull")}))["podIP"] == "10.1.0.2"
    assert status(pod(), seen(run()))["podIP"] == "10.1.0.2"
    assert status(pod(), seen(held_back=True))["podIP"] == "10.1.0.2"
    assert status(pod(), seen(), previous={"podIP": "10.1.0.2"})["podIP"] == "10.1.0.2"


def test_a_running_pod_is_ready_and_keeps_its_times():
    first = status(pod(), seen(run(image="busybox:1", image_id="sha256:1")))
    assert first["phase"] == "Running"
    assert first["podIPs"] == [{"ip": "10.1.0.2"}]
    assert first["containerStatuses"] == [
        {
            "name": "c",
            "image": "busybox:1",
            "imageID": "sha256:1",
            "containerID": "kubeshim://c-0",
            "restartCount": 0,
            "ready": True,
            "started": True,
            "resources": {},
            "state": {"running": {"startedAt": TIME}},
            "lastState": {},
        }
    ]
    assert all(found[0] == "True" for found in conditions(first).values())
    assert status(pod(), seen(run(image="busybox:1", image_id="sha256:1")), previous=first, now=NOW + 60) == first


def test_the_terminal_phase_is_told_when_all_has_stopped():
    a_pod = pod(restartPolicy="Never", status={"phase": "Running", "qosClass": "BestEffort"})
    early = status(a_pod, seen(ended()))
    assert early["phase"] == "Running"
    assert conditions(early)["Ready"] == ("False", "PodCompleted", None)
    assert conditions(early)["PodReadyToStartContainers"][0] == "True"
    late = status(a_pod, seen(ended(), sandbox=False), previous=early, for_good=True, ended=True)
    assert late["phase"] == "Succeeded"
    assert late["podIP"] == "10.1.0.2"
    assert conditions(late)["Initialized"] == ("True", "PodCompleted", None)
    assert conditions(late)["PodReadyToStartContainers"][0] == "False"


def test_a_failure_tells_its_message():
    a_pod = pod(restartPolicy="Never", status={"phase": "Running"})
    found = status(a_pod, seen(ended(code=3, message="oops\n"), sandbox=False), for_good=True, ended=True)
    assert found["phase"] == "Failed"
    assert found["containerStatuses"][0]["state"] == {
        "terminated": {"exitCode": 3, "reason": "Error", "message": "oops\n", "containerID": "kubeshim://c-0", **ENDED}
    }


def test_out_of_memory_and_never_started():
    def reason(life):
        return status(pod(), seen(life))["containerStatuses"][0]["state"]["terminated"]

    assert reason(ended(code=137, oom_killed=True))["reason"] == "OOMKilled"
    never = reason(ended(code=127, start_error="no such file"))
    assert (never["reason"], never["exitCode"], never["message"]) == ("StartError", 128, "no such file")


def test_a_crash_loop_waits_and_remembers():
    waiting = {"c": Waiting("CrashLoopBackOff", "back-off 10s restarting failed container=c pod=p_ns(u)")}
    found = status(pod(), seen(ended(code=1, attempt=1), ended(code=1), waiting=waiting))
    only = found["containerStatuses"][0]
    assert found["phase"] == "Running"
    assert only["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert only["lastState"]["terminated"]["containerID"] == "kubeshim://c-1"
    assert only["restartCount"] == 1


def test_init_containers():
    a_pod = pod(init=[container("i1"), container("i2")])
    found = status(a_pod, seen(run("i1")))
    assert found["phase"] == "Pending"
    incomplete = ("False", "ContainersNotInitialized", "containers with incomplete status: [i1 i2]")
    assert conditions(found)["Initialized"] == incomplete
    assert [s["started"] for s in found["initContainerStatuses"]] == [True, False]
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    done = status(a_pod, seen(ended("i1"), ended("i2"), run()))
    assert [s["ready"] for s in done["initContainerStatuses"]] == [True, True]
    assert done["phase"] == "Running"


def test_an_init_container_that_fails_for_good():
    a_pod = pod(init=[container("i")], restartPolicy="Never")
    found = status(a_pod, seen(ended("i", 7), sandbox=False), for_good=True, ended=True)
    assert found["phase"] == "Failed"
    assert conditions(found)["Ready"] == ("False", "PodFailed", None)


def test_probes_decide_readiness():
    unready = {"c-0": Health(started=True, ready=False)}
    found = status(pod(), seen(run(), health=unready))
    assert found["phase"] == "Running"
    assert conditions(found)["Ready"][:2] == ("False", "ContainersNotReady")
    starting = status(pod(), seen(run(), health={"c-0": Health(started=False, ready=True)}))
    assert (starting["containerStatuses"][0]["started"], starting["containerStatuses"][0]["ready"]) == (False, False)


def test_what_goes_before_in_a_life_is_heard_first():
    probed = pod(container(startupProbe={}))
    lives = [
        status(probed, seen(sandbox=False)),
        status(probed, seen(run(), health={"c-0": Health(started=False, ready=False)})),
        status(probed, seen(run(), health={"c-0": Health(ready=False)})),
        status(probed, seen(run())),
        status(probed, seen(ended(code=1))),
        status(probed, seen(run(attempt=1), ended(code=1))),
    ]
    overtaken = [overtakes(told, next_) for told, next_ in itertools.pairwise(lives)]
    # who starts at once waits for nobody, nor does the next life: the last end was heard before it began
    assert overtaken == [False, True, True, True, False]
    assert not any(overtakes(told, told) for told in lives)

    over = seen(ended(code=1))
    assert over.before_the_end_of("c-0") == seen(run(exit_code=1, finished_at=NOW, ended=NOW))
    assert seen(run()).before_the_end_of("c-0") is None


def test_readiness_gates_and_others_conditions_are_kept():
    gate = {"type": "example.com/gate", "status": "False"}
    a_pod = pod(readinessGates=[{"conditionType": "example.com/gate"}], status={"conditions": [gate]})
    found = status(a_pod, seen(run()))
    message = 'the status of pod readiness gate "example.com/gate" is not "True", but False'
    assert conditions(found)["Ready"] == ("False", "ReadinessGatesNotReady", message)
    assert gate in found["conditions"]


def test_a_deadline_ends_a_pod_with_its_reason():
    a_pod = pod(status={"phase": "Running"})
    running = status(a_pod, seen(run()), verdict=DEADLINE)
    assert (running["phase"], running.get("reason")) == ("Running", None)
    assert conditions(running)["Ready"] == ("False", "PodFailed", None)
    killed = seen(ended(code=137), sandbox=False)
    found = status(a_pod, killed, previous=running, verdict=DEADLINE, for_good=True, ended=True)
    assert (found["phase"], found["reason"]) == ("Failed", "DeadlineExceeded")


def test_who_is_sent_away_is_as_ready_as_before_until_it_has_ended():
    evicted = Verdict("Evicted", "The node was low on resource: memory.", grace=1)
    a_pod = pod(status={"phase": "Running", "qosClass": "BestEffort"})
    going = status(a_pod, seen(run()), verdict=evicted)
    assert (going["phase"], conditions(going)["Ready"][0], "reason" in going) == ("Running", "True", False)
    gone = status(a_pod, seen(ended(code=137), sandbox=False), previous=going, verdict=evicted, ended=True)
    assert (gone["phase"], gone["reason"]) == ("Failed", "Evicted")
    assert conditions(gone)["Ready"] == ("False", "PodFailed", None)


def test_an_ephemeral_container_is_never_ready():
    looked_into = pod(ephemeralContainers=[container("debug")])
    for runs in ([], [run("debug")], [ended("debug", 3)]):
        (found,) = status(looked_into, seen(run(), *runs))["ephemeralContainerStatuses"]
        assert (found["ready"], "started" in found) == (False, False)


def test_whatever_had_its_turn_has_ended_with_its_pod():
    """As upstream: nobody knows how a container ended that never ran, so it has failed."""

    def ends(a_pod, *runs, previous=None):
        found = status(a_pod, seen(*runs, sandbox=False), previous=previous, for_good=True, ended=True)
        assert found["phase"] == "Failed"
        listed = [*found.get("initContainerStatuses", ()), *found["containerStatuses"]]
        return [next(iter(each["state"].values())).get("reason") for each in listed], conditions(found)["Ready"]

    unready = ("False", "ContainersNotReady", "containers with unready status: [c]")
    assert ends(pod()) == (["ContainerStatusUnknown"], unready)
    two = pod(initContainers=[container("i"), container("j")])
    assert ends(two)[0] == ["ContainerStatusUnknown", "PodInitializing", "PodInitializing"]
    assert ends(two, ended("i"))[0] == ["Completed", "PodInitializing", "PodInitializing"]
    runs = [ended("i"), ended("j")]
    done = status(two, seen(*runs))
    assert ends(two, *runs, previous=done)[0] == ["Completed", "Completed", "ContainerStatusUnknown"]


def test_resources_are_reported():
    limits = {"cpu": "100m", "memory": "32Mi"}
    found = status(pod(container(resources={"limits": limits, "requests": limits})), seen(run()))
    assert found["resources"] == {"limits": limits, "requests": limits}
    assert found["allocatedResources"] == limits
    assert found["containerStatuses"][0]["allocatedResources"] == limits


def test_a_new_agent_changes_nothing_it_cannot_see_better():
    running = status(pod(), seen(run()))
    lost = status(pod(status=running), seen())
    only = lost["containerStatuses"][0]
    assert only["restartCount"] == 1
    assert only["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    over = status(pod(restartPolicy="Never"), seen(ended(), sandbox=False), for_good=True, ended=True)
    assert status(pod(status=over, restartPolicy="Never"), seen(sandbox=False), for_good=True)["phase"] == over["phase"]


def test_host_network_has_the_nodes_address():
    assert status(pod(hostNetwork=True), seen(sandbox=False))["podIP"] == "192.0.2.2"


def test_a_pod_shows_what_it_had_until_a_resize_is_over():
    had, gets = ({"limits": {"memory": amount}} for amount in ("64Mi", "32Mi"))
    asked = pod(container(), resources=gets)
    goes_on = Resizing(in_progress=True, generation=2)
    assert status(asked, seen(run()), previous={"resources": had}, resizing=goes_on)["resources"] == had
    assert status(asked, seen(run()), previous={"resources": had})["resources"] == gets


def test_containers_that_begin_anew_because_of_another():
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    source = container("a", restartPolicy="Never", restartPolicyRules=[rule])
    two = pod(source, container("b"), init=[container("i")], restartPolicy="Never")
    ready = status(two, seen(ended("i"), run("a"), run("b")))
    assert conditions(ready)["AllContainersRestarting"] == ("False", None, None)

    over = status(two, seen(ended("i"), ended("a", 42), run("b")), previous=ready)
    why = ("True", "RestartAllContainersStarted", "container exited with restart policy rule")
    assert (over["phase"], conditions(over)["AllContainersRestarting"]) == ("Running", why)
    assert "observedGeneration" not in over["conditions"][-1]  # as upstream

    forgotten = status(two, seen(), previous=over)
    assert (forgotten["phase"], conditions(forgotten)["AllContainersRestarting"][0]) == ("Running", "False")
    assert conditions(forgotten)["Initialized"][0] == "True"  # nothing takes that back
    told = [*forgotten["initContainerStatuses"], *forgotten["containerStatuses"]]
    message = "The container is removed because RestartAllContainers in place"
    why = {"reason": "RestartingAllContainers", "message": message}
    last = {"terminated": {**why, "exitCode": 137, "startedAt": None, "finishedAt": None}}
    assert [(c["restartCount"], c["state"], c["lastState"]) for c in told] == [(1, {"waiting": why}, last)] * 3

    again = status(two, seen(ended("i", attempt=1), run("a", attempt=1), run("b", attempt=1)), previous=forgotten)
    assert [(c["restartCount"], c["lastState"]) for c in again["containerStatuses"]] == [(1, last)] * 2
    init = status(two, seen(run("i", attempt=1)), previous=forgotten)
    assert (init["phase"], conditions(init)["Initialized"][0]) == ("Pending", "True")  # as upstream, both
