"""What a Deployment tells about itself, step by step as the reference server's did."""

from __future__ import annotations

import datetime

from shim.api.meta import Object, now, parse_time
from shim.controllers import deployment_status as statuses
from shim.controllers.tests.builders import EARLIER, deployment, replica_set

AT = parse_time(EARLIER) + datetime.timedelta(seconds=30)


def told(status: Object) -> list[tuple[str, str, str]]:
    return [(each["type"], each["status"], each["reason"]) for each in status["conditions"]]


def with_progress(reason: str, status: str = "True", time: str = EARLIER, **spec: object) -> Object:
    wanted = deployment(3, **spec)
    condition = statuses.condition("Progressing", status, reason, "x")
    wanted["status"] = {"conditions": [condition | {"lastUpdateTime": time, "lastTransitionTime": time}]}
    return wanted


def test_before_any_pod() -> None:
    new = replica_set("d-1", 3, 0)
    new["status"] = {"replicas": 0}
    status = statuses.rollout_status(with_progress(statuses.NEW_SET), new, [], AT)
    assert status["unavailableReplicas"] == 3
    assert status["terminatingReplicas"] == 0
    assert "replicas" not in status
    assert told(status) == [
        ("Progressing", "True", "NewReplicaSetCreated"),
        ("Available", "False", "MinimumReplicasUnavailable"),
    ]


def test_progress_is_told_each_time() -> None:
    before = with_progress(statuses.UPDATED)
    status = statuses.rollout_status(before, replica_set("d-1", 3, 1), [], AT)
    assert told(status)[-1] == ("Progressing", "True", "ReplicaSetUpdated")
    progress = status["conditions"][-1]
    assert progress["lastUpdateTime"] >= now()[:10]
    assert progress["lastTransitionTime"] == EARLIER
    assert progress["message"] == 'ReplicaSet "d-1" is progressing.'


def test_complete() -> None:
    status = statuses.rollout_status(with_progress(statuses.UPDATED), replica_set("d-1", 3), [], AT)
    assert told(status) == [
        ("Available", "True", "MinimumReplicasAvailable"),
        ("Progressing", "True", "NewReplicaSetAvailable"),
    ]
    assert status["conditions"][1]["message"] == 'ReplicaSet "d-1" has successfully progressed.'
    assert "unavailableReplicas" not in status


def test_a_rollout_without_progress_times_out() -> None:
    slow = with_progress(statuses.NEW_SET, progressDeadlineSeconds=20)
    old, new = replica_set("old", 3), replica_set("d-1", 0)
    slow["status"] |= {"replicas": 3, "readyReplicas": 3, "availableReplicas": 3}
    status = statuses.rollout_status(slow, new, [old], AT)
    assert told(status)[-1] == ("Progressing", "False", "ProgressDeadlineExceeded")
    assert status["conditions"][-1]["message"] == 'ReplicaSet "d-1" has timed out progressing.'


def test_without_a_deadline_progress_is_not_judged() -> None:
    status = statuses.rollout_status(deployment(progressDeadlineSeconds=None), replica_set("d-1", 3), [], AT)
    assert [each["type"] for each in status["conditions"]] == ["Available"]


def test_pause_and_resume_are_told_once() -> None:
    paused = statuses.paused_condition(with_progress(statuses.COMPLETE, paused=True))
    assert paused is not None
    assert (paused["status"], paused["reason"], paused["message"]) == (
        "Unknown",
        "DeploymentPaused",
        "Deployment is paused",
    )
    assert statuses.paused_condition(with_progress(statuses.PAUSED, "Unknown", paused=True)) is None
    resumed = statuses.paused_condition(with_progress(statuses.PAUSED, "Unknown"))
    assert resumed is not None
    assert resumed["reason"] == "DeploymentResumed"


def test_a_sets_failure_is_passed_on_and_taken_back() -> None:
    new = replica_set("d-1", 3, 0)
    new["status"]["conditions"] = [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": "no",
            "lastTransitionTime": EARLIER,
        }
    ]
    wanted = with_progress(statuses.NEW_SET)
    status = statuses.rollout_status(wanted, new, [], AT)
    assert ("ReplicaFailure", "True", "FailedCreate") in told(status)
    wanted["status"] = status
    assert "ReplicaFailure" not in [
        each[0] for each in told(statuses.rollout_status(wanted, replica_set("d-1", 3), [], AT))
    ]
