"""Jobs: what is made, what ends the job, and that every pod counts once."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from shim.api.meta import Object, parse_time
from shim.controllers.job_failures import Backoff, judge
from shim.controllers.job_indexes import format_indexes, parse_indexes, with_index
from shim.controllers.job_plan import TRACKING, completed, decide, observe, plan_pods, seconds_to_live
from shim.controllers.job_status import MOST_UNCOUNTED, finished_status, living, settle, started, track, with_suspension
from shim.controllers.tests.builders import EARLIER, NOW, pod, template

AT = parse_time(NOW)


def job(status: Object | None = None, **spec: Any) -> Object:
    defaults = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": template()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "ns", "uid": "uid-j", "generation": 1, "creationTimestamp": EARLIER},
        "spec": {**defaults, **spec},
        "status": status or {},
    }


def worker(name: str, phase: str = "Running", index: int | None = None, **more: Any) -> Object:
    annotations = {} if index is None else {"batch.kubernetes.io/job-completion-index": str(index)}
    annotations |= more.pop("annotations", {})
    return pod(name, phase=phase, finalizers=[TRACKING], annotations=annotations, **more)


def exited(name: str, code: int, **more: Any) -> Object:
    made = worker(name, "Failed" if code else "Succeeded", **more)
    made["status"]["containerStatuses"] = [
        {"name": "c", "state": {"terminated": {"exitCode": code, "finishedAt": more.get("at", EARLIER)}}}
    ]
    return made


@pytest.mark.parametrize(
    ("indexes", "text"), [(set(), ""), ({0}, "0"), ({0, 1}, "0,1"), ({0, 2, 3, 4, 7, 8}, "0,2-4,7,8")]
)
def test_indexes_are_written_as_upstream_does(indexes: set[int], text: str) -> None:
    assert format_indexes(indexes) == text
    assert parse_indexes(text, 10) == indexes


def test_indexes_beyond_the_completions_do_not_count() -> None:
    assert parse_indexes("0,2-9", 4) == {0, 2, 3}


def test_as_many_pods_as_are_wanted_at_once() -> None:
    wanted = job(parallelism=2, completions=3)
    assert plan_pods(wanted, observe(wanted, []), Backoff(), AT).create == 2
    two = observe(wanted, [worker("a"), exited("b", 0)])
    assert plan_pods(wanted, two, Backoff(), AT).create == 1
    three = observe(wanted, [worker("a"), exited("b", 0), exited("c", 0)])
    assert plan_pods(wanted, three, Backoff(), AT).create == 0


def test_a_work_queue_makes_no_more_after_the_first_success() -> None:
    wanted = job(parallelism=3, completions=None)
    seen = observe(wanted, [exited("a", 0), worker("b")])
    assert plan_pods(wanted, seen, Backoff(), AT).create == 0
    assert completed(wanted, seen, 1) is None
    assert completed(wanted, seen, 0) is not None


def test_a_failure_is_waited_for() -> None:
    wanted = job()
    seen = observe(wanted, [exited("a", 1)])
    backoff = Backoff().after(seen.new_succeeded, seen.new_failed)
    plan = plan_pods(wanted, seen, backoff, parse_time(EARLIER) + datetime.timedelta(seconds=4))
    assert (plan.create, plan.wait) == (0, 6)
    assert plan_pods(wanted, seen, backoff, AT).create == 1
    assert Backoff(3, AT).remaining(AT) == 40


def test_a_suspended_job_has_no_pods() -> None:
    wanted = job(suspend=True)
    running = worker("a")
    assert plan_pods(wanted, observe(wanted, [running]), Backoff(), AT).delete == [running]
    status, told = with_suspension(wanted, started(wanted))
    assert told == "Suspended"
    assert "startTime" not in status
    resumed, told = with_suspension(job(status), status)
    assert told == "Resumed"
    assert resumed["conditions"][0]["reason"] == "JobResumed"
    assert resumed["startTime"]


def test_success_is_told_in_three_steps() -> None:
    wanted, done = job(), exited("a", 0)
    seen = observe(wanted, [done])
    finish = completed(wanted, seen, 0)
    first = track(wanted, living(started(wanted), 0, 0, 0), seen, finish)
    assert first.status["uncountedTerminatedPods"] == {"succeeded": ["uid-a"]}
    assert first.status["conditions"][0]["type"] == "SuccessCriteriaMet"
    assert "succeeded" not in first.status
    assert first.release == [done]
    assert finished_status(first.status, first.finish) is None
    last = finished_status(settle(first.status, set()), first.finish)
    assert last is not None
    assert (last["succeeded"], last["uncountedTerminatedPods"]) == (1, {})
    assert [each["type"] for each in last["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert last["conditions"][1]["reason"] == "CompletionsReached"
    assert last["completionTime"]


def test_a_pod_counts_once_even_if_we_crash_in_between() -> None:
    """The uid is written but the finalizer still there: seen again, the pod is not counted again."""
    status = {"uncountedTerminatedPods": {"succeeded": ["uid-a"]}}
    wanted = job(status, completions=2)
    seen = observe(wanted, [exited("a", 0)])
    assert seen.succeeded == 1
    again = track(wanted, started(wanted), seen, None)
    assert again.status["uncountedTerminatedPods"] == {"succeeded": ["uid-a"]}
    assert [each["metadata"]["name"] for each in again.release] == ["a"]


def test_a_job_is_not_finished_before_all_its_pods_are_counted() -> None:
    many = MOST_UNCOUNTED + 100
    wanted = job(completions=many)
    pods = [exited(f"p{number}", 0) for number in range(many)]
    seen = observe(wanted, pods)
    first = track(wanted, started(wanted), seen, completed(wanted, seen, 0))
    assert (len(first.release), first.finish) == (MOST_UNCOUNTED, None)
    status = settle(first.status, {each["metadata"]["uid"] for each in pods[MOST_UNCOUNTED:]})
    wanted = job(status, completions=many)
    seen = observe(wanted, pods[MOST_UNCOUNTED:])
    rest = track(wanted, started(wanted), seen, decide(wanted, seen, AT))
    final = finished_status(settle(rest.status, set()), rest.finish)
    assert final is not None
    assert final["succeeded"] == many


def test_too_many_failures_fail_the_job() -> None:
    wanted = job({"failed": 1}, backoffLimit=1)
    seen = observe(wanted, [exited("a", 1)])
    finish = decide(wanted, seen, AT)
    assert finish is not None
    assert (finish["type"], finish["reason"]) == ("FailureTarget", "BackoffLimitExceeded")
    assert finish["message"] == "Job has reached the specified backoff limit"
    tracking = track(wanted, started(wanted), seen, finish)
    last = finished_status(settle(tracking.status, set()), tracking.finish)
    assert last is not None
    assert last["failed"] == 2
    assert [each["type"] for each in last["conditions"]] == ["FailureTarget", "Failed"]


def test_restarts_in_place_count_as_failures() -> None:
    wanted = job(backoffLimit=2)
    wanted["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    restarting = worker("a")
    restarting["status"]["containerStatuses"] = [{"name": "c", "restartCount": 2, "state": {}}]
    finish = decide(wanted, observe(wanted, [restarting]), AT)
    assert finish is not None
    assert finish["reason"] == "BackoffLimitExceeded"


def test_a_job_may_not_be_active_for_too_long() -> None:
    late = job({"startTime": EARLIER}, activeDeadlineSeconds=60)
    finish = decide(late, observe(late, []), AT)
    assert finish is not None
    assert (finish["reason"], finish["message"]) == (
        "DeadlineExceeded",
        "Job was active longer than specified deadline",
    )
    early = job({"startTime": EARLIER}, activeDeadlineSeconds=61)
    assert decide(early, observe(early, []), AT) is None


def test_a_failing_job_counts_the_pods_it_deletes_and_waits_for_their_end() -> None:
    wanted = job({"startTime": EARLIER}, activeDeadlineSeconds=1)
    seen = observe(wanted, [worker("a")])
    tracking = track(wanted, living(started(wanted), 0, 0, 1), seen, decide(wanted, seen, AT))
    assert tracking.status["uncountedTerminatedPods"] == {"failed": ["uid-a"]}
    assert finished_status(settle(tracking.status, set()), tracking.finish) is None


def test_a_failure_policy_ends_the_job_at_once() -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    wanted = job(podFailurePolicy={"rules": rules})
    finish = decide(wanted, observe(wanted, [exited("a", 42)]), AT)
    assert finish is not None
    assert finish["reason"] == "PodFailurePolicy"
    assert finish["message"] == "Container c for pod ns/a failed with exit code 42 matching FailJob rule at index 0"
    assert decide(wanted, observe(wanted, [exited("a", 1)]), AT) is None


def test_an_ignored_failure_does_not_count() -> None:
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    wanted = job(podFailurePolicy={"rules": rules}, backoffLimit=0)
    evicted = exited("a", 1)
    evicted["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True"})
    assert not judge(wanted, evicted).counts
    seen = observe(wanted, [evicted])
    assert seen.failed == 0
    tracking = track(wanted, started(wanted), seen, None)
    assert tracking.status["uncountedTerminatedPods"] == {}
    assert tracking.release == [evicted]


def test_each_index_gets_its_pod() -> None:
    wanted = job(completionMode="Indexed", completions=4, parallelism=3)
    seen = observe(wanted, [worker("a", index=1), exited("b", 0, index=0)])
    plan = plan_pods(wanted, seen, Backoff(), AT)
    assert plan.indexes == [2, 3]
    made = with_index({"metadata": {}, "spec": {"containers": [{"name": "c"}]}}, "j", 2)
    assert made["metadata"]["generateName"] == "j-2-"
    assert made["spec"]["hostname"] == "j-2"
    (variable,) = made["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    path = "metadata.labels['batch.kubernetes.io/job-completion-index']"
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": path}}


def test_two_pods_of_one_index_are_one_too_many() -> None:
    wanted = job(completionMode="Indexed", completions=2, parallelism=2)
    seen = observe(wanted, [worker("a", index=0), worker("b", index=0, ready=False), worker("c", index=1)])
    assert [each["metadata"]["name"] for each in plan_pods(wanted, seen, Backoff(), AT).delete] == ["b"]


def test_an_index_that_failed_for_good_fails_the_job_when_the_others_are_done() -> None:
    wanted = job(completionMode="Indexed", completions=3, parallelism=3, backoffLimitPerIndex=0, backoffLimit=2**31 - 1)
    seen = observe(wanted, [exited("a", 0, index=0), exited("b", 1, index=1), exited("c", 0, index=2)])
    finish = decide(wanted, seen, AT)
    assert finish is not None
    assert (finish["reason"], finish["message"]) == ("FailedIndexes", "Job has failed indexes")
    status = track(wanted, started(wanted), seen, finish).status
    assert (status["completedIndexes"], status["failedIndexes"], status["succeeded"]) == ("0,2", "1", 2)
    assert status["uncountedTerminatedPods"] == {"failed": ["uid-b"]}


def test_a_failed_pod_is_kept_until_its_index_is_tried_again() -> None:
    wanted = job(completionMode="Indexed", completions=1, backoffLimitPerIndex=1, backoffLimit=2**31 - 1)
    failed = exited("a", 1, index=0)
    seen = observe(wanted, [failed])
    assert seen.held == {0: failed}
    assert track(wanted, started(wanted), seen, None).release == []
    assert plan_pods(wanted, seen, Backoff(), AT).indexes == [0]
    seen = observe(wanted, [failed, worker("b", index=0)])
    assert track(wanted, started(wanted), seen, None).release == [failed]


def test_a_success_policy_is_enough() -> None:
    rules = [{"succeededIndexes": "0,1", "succeededCount": 1}]
    wanted = job(completionMode="Indexed", completions=5, successPolicy={"rules": rules})
    finish = decide(wanted, observe(wanted, [exited("a", 0, index=1)]), AT)
    assert finish is not None
    assert (finish["type"], finish["message"]) == ("SuccessCriteriaMet", "Matched rules at index 0")


def test_a_finished_job_goes_after_its_time() -> None:
    done = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": EARLIER}]}
    assert seconds_to_live(job(done, ttlSecondsAfterFinished=100), AT) == 40
    assert seconds_to_live(job(done), AT) is None
    assert seconds_to_live(job(ttlSecondsAfterFinished=0), AT) is None
