"""Plans as values: each test is one moment in the life of a pod."""

from dataclasses import replace

from stories import NOW, container, ended, pod, run, seen

from nodeagent.kubelet.observed import Delay, Health, Waiting
from nodeagent.kubelet.plan import (
    BackOff,
    CreateSandbox,
    EndPod,
    ForgetRuns,
    KillContainer,
    MountVolumes,
    RemoveRun,
    StartContainer,
    Wait,
    ending_order,
    plan,
)

SIDECAR = container("sc", restartPolicy="Always")


def steps(a_pod, observed, *, previous=None, now=NOW):
    return plan(a_pod, observed, previous=previous or {}, now=now)


def test_first_volumes_then_the_sandbox_then_containers():
    assert steps(pod(), seen(sandbox=False, volumes=False)) == [MountVolumes()]
    assert steps(pod(), seen(sandbox=False)) == [CreateSandbox(0)]
    assert steps(pod(), seen(volumes=False)) == [MountVolumes()]  # an agent died when it had no more than the sandbox
    assert steps(pod(), seen(run(), volumes=False)) == [MountVolumes()]
    assert steps(pod(container("a"), container("b")), seen()) == [
        StartContainer("containers", "a", 0),
        StartContainer("containers", "b", 0),
    ]
    assert steps(pod(), seen(run())) == []


def test_what_failed_a_moment_ago_waits():
    waiting = {"": Waiting("", "1", NOW + 5), "c": Waiting("ErrImagePull", "", NOW + 3)}
    assert steps(pod(), seen(sandbox=False, volumes=False, waiting=waiting)) == [Wait(NOW + 5)]
    assert steps(pod(), seen(waiting=waiting)) == [Wait(NOW + 3)]
    assert steps(pod(), seen(waiting=waiting), now=NOW + 3) == [StartContainer("containers", "c", 0)]


def test_a_crash_restarts_at_once_then_backs_off():
    again = StartContainer("containers", "c", 1)
    assert steps(pod(), seen(ended(code=1))) == [again]
    crashed = seen(ended(code=1), delays={"c": Delay(10, NOW)})
    assert steps(pod(), crashed, now=NOW + 4) == [BackOff("containers", "c", "c-0", 10), Wait(NOW + 10)]
    assert steps(pod(), crashed, now=NOW + 10) == [again]
    often = seen(ended(code=1), delays={"c": Delay(300, NOW)})  # told of meanwhile, as upstream at every look
    assert steps(pod(), often, now=NOW + 4) == [BackOff("containers", "c", "c-0", 300), Wait(NOW + 79)]


def test_restart_policies():
    assert steps(pod(restartPolicy="Never"), seen(ended(code=1))) == [EndPod(30)]
    assert steps(pod(restartPolicy="OnFailure"), seen(ended(code=0))) == [EndPod(30)]
    assert steps(pod(restartPolicy="OnFailure"), seen(ended(code=2))) == [StartContainer("containers", "c", 1)]
    two = pod(container("a"), container("b"), restartPolicy="Never")
    assert steps(two, seen(ended("a", 1), run("b"))) == []


ALL = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}


def test_an_end_may_mean_that_all_containers_begin_anew():
    source = container("a", restartPolicy="Never", restartPolicyRules=[ALL])
    three = pod(source, container("b"), init=[container("i")], restartPolicy="Never")
    others = ended("i"), run("b")
    assert steps(three, seen(ended("a", 1), *others)) == []
    forget = ForgetRuns(("b-0", "i-0", "a-0"))  # the one that says so is the last to go
    assert steps(three, seen(ended("a", 42), *others)) == [KillContainer("b-0", "b", 0.0, "killing"), forget]
    assert steps(three, seen(ended("a", 42), ended("b", 137), ended("i"))) == [forget]
    counts = {"initContainerStatuses": [{"name": "i", "restartCount": 1}]}
    assert steps(three, seen(), previous=counts) == [StartContainer("initContainers", "i", 1)]


def test_a_restart_rule_on_an_exit_code_wins():
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    one = pod(container(restartPolicy="Never", restartPolicyRules=[rule]), restartPolicy="Never")
    assert steps(one, seen(ended(code=42))) == [StartContainer("containers", "c", 1)]
    assert steps(one, seen(ended(code=1))) == [EndPod(30)]


def test_init_containers_run_one_after_the_other():
    a_pod = pod(init=[container("i1"), container("i2")])
    assert steps(a_pod, seen()) == [StartContainer("initContainers", "i1", 0)]
    assert steps(a_pod, seen(run("i1"))) == []
    assert steps(a_pod, seen(ended("i1"))) == [StartContainer("initContainers", "i2", 0)]
    assert steps(a_pod, seen(ended("i1"), ended("i2"))) == [StartContainer("containers", "c", 0)]
    assert steps(a_pod, seen(ended("i1"), ended("i2"), run())) == []


def test_an_init_container_that_fails():
    assert steps(pod(init=[container("i")]), seen(ended("i", 7))) == [StartContainer("initContainers", "i", 1)]
    assert steps(pod(init=[container("i")], restartPolicy="Never"), seen(ended("i", 7))) == [EndPod(30)]


def test_a_sidecar_starts_first_restarts_and_keeps_no_pod_alive():
    a_pod = pod(init=[SIDECAR], restartPolicy="Never")
    assert steps(a_pod, seen()) == [StartContainer("initContainers", "sc", 0)]
    assert steps(a_pod, seen(run("sc"))) == [StartContainer("containers", "c", 0)]
    not_started = {"sc-0": Health(started=False, ready=False)}
    assert steps(a_pod, seen(run("sc"), health=not_started)) == []
    assert steps(a_pod, seen(ended("sc", 1), run())) == [StartContainer("initContainers", "sc", 1)]
    assert steps(a_pod, seen(run("sc"), ended())) == [EndPod(30)]


def test_sidecars_are_stopped_last_and_in_reverse():
    a_pod = pod(init=[container("s1", restartPolicy="Always"), container("s2", restartPolicy="Always")])
    lives = (run("s1"), run("c"), run("s2"))
    assert [[life.name for life in wave] for wave in ending_order(a_pod, lives)] == [["c"], ["s2"], ["s1"]]


def test_a_failed_probe_kills_and_restarts():
    probed = pod(container(livenessProbe={"terminationGracePeriodSeconds": 3}))
    sick = seen(run(), health={"c-0": Health(failed="liveness")})
    message = "Container c failed liveness probe"
    kill = KillContainer("c-0", "c", 3, message + ", will be restarted")
    assert steps(probed, sick) == [kill, StartContainer("containers", "c", 1, "c-0")]
    probed["spec"]["restartPolicy"] = "Never"
    assert steps(probed, sick) == [KillContainer("c-0", "c", 3, message)]


def test_a_killed_container_waits_for_the_end_before_its_own():
    health = {"c-1": Health(failed="liveness")}
    sick = seen(run(attempt=1), ended(code=137), health=health, delays={"c": Delay(10, NOW)})
    kill = KillContainer("c-1", "c", 30, "Container c failed liveness probe, will be restarted")
    assert steps(pod(), sick, now=NOW + 4) == [kill]
    assert steps(pod(), sick, now=NOW + 10) == [kill, StartContainer("containers", "c", 2, "c-1")]


def test_a_sick_sidecar_restarts():
    sick = seen(run("sc"), run(), health={"sc-0": Health(failed="liveness")})
    kill = KillContainer("sc-0", "sc", 30, "Init container sc failed liveness probe")
    again = StartContainer("initContainers", "sc", 1, "sc-0")
    assert steps(pod(init=[SIDECAR]), sick) == [kill, again]


def test_a_new_image_restarts_its_container():
    message = "Container c definition changed, will be restarted"
    kill = KillContainer("c-0", "c", 30, message)
    assert steps(pod(), seen(run(asked="other"))) == [kill, StartContainer("containers", "c", 1, "c-0")]
    assert steps(pod(), seen(run(asked="busybox"))) == []


def test_a_deleted_pod_ends_with_the_grace_of_the_deletion():
    deleted = pod(meta={"deletionTimestamp": "2027-01-01T00:00:00Z", "deletionGracePeriodSeconds": 2})
    assert steps(deleted, seen(run())) == [EndPod(2)]


def test_a_pod_past_its_deadline_ends():
    a_pod = pod(activeDeadlineSeconds=10)
    assert steps(a_pod, seen(run(), began=NOW)) == [Wait(NOW + 10)]
    assert steps(a_pod, seen(run(), began=NOW), now=NOW + 10) == [EndPod(30)]


def test_after_a_reboot_all_starts_anew_in_a_new_sandbox():
    a_pod = pod(init=[container("i")])
    before = seen(ended("i"), ended(code=255))
    down = replace(before, sandbox=replace(before.sandbox, ready=False))
    assert steps(a_pod, down) == [CreateSandbox(1)]
    up = replace(before, sandbox=replace(before.sandbox, id="s2"))
    assert steps(a_pod, up) == [StartContainer("initContainers", "i", 1)]
    done = replace(up, runs={"i": (ended("i", attempt=1, sandbox="s2"),), "c": before.runs["c"]})
    assert steps(a_pod, done) == [StartContainer("containers", "c", 1)]


def test_after_a_reboot_what_must_not_restart_ends():
    before = seen(ended(code=255))
    down = replace(before, sandbox=replace(before.sandbox, ready=False))
    assert steps(pod(restartPolicy="Never"), down) == [EndPod(30)]


def test_restart_counts_survive_the_loss_of_all_runs():
    told = {"containerStatuses": [{"name": "c", "restartCount": 4}]}
    assert steps(pod(), seen(), previous=told) == [StartContainer("containers", "c", 4)]


def test_old_lives_are_removed_but_the_last_two():
    lives = seen(run(attempt=2), ended(attempt=1), ended(attempt=0))
    assert steps(pod(), lives) == [RemoveRun("c-0", "c", 0)]
