"""What a part shows of itself: how it is to everyone, the rest to whom the API server lets look."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import RawTestServer, TestClient

from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import WorkQueue
from shim.client.measured import of_leadership, of_queues
from shim.client.showing import Shown


class Reviewer:
    """An API server that knows jane and joe, and lets jane read /metrics."""

    async def create(self, kind: Any, body: Object) -> Object:
        spec = body["spec"]
        if body["kind"] == "TokenReview":
            if spec["token"] == "away":
                raise ApiError(503, "ServiceUnavailable", "away")
            return {"status": {"authenticated": spec["token"] in ("jane", "joe"), "user": {"username": spec["token"]}}}
        asked = spec["nonResourceAttributes"]
        return {"status": {"allowed": (spec["user"], asked) == ("jane", {"path": "/metrics", "verb": "get"})}}


async def _asked(path: str, token: str = "", method: str = "GET") -> tuple[int, str]:
    queue = WorkQueue()
    queue.add("a")

    def families():
        yield from of_queues([("q", queue)])
        yield from of_leadership("it", True)

    shown = Shown(Reviewer(), families)  # type: ignore[arg-type]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with TestClient(RawTestServer(shown.answer)) as client:
        answer = await client.request(method, path, headers=headers)
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("path", "token", "code", "said"),
    [
        ("/healthz", "", 200, "ok"),
        ("/readyz", "nobody's", 200, "ok"),
        ("/metrics", "", 403, 'forbidden: User \\"system:anonymous\\" cannot get path \\"/metrics\\"'),
        ("/metrics", "nobody's", 401, '"message":"Unauthorized"'),
        ("/metrics", "joe", 403, 'forbidden: User \\"joe\\" cannot get path \\"/metrics\\"'),
        ("/metrics", "away", 503, '"message":"away"'),
        ("/metrics", "jane", 200, 'workqueue_depth{name="q"} 1.0\n'),
        ("/metrics", "jane", 200, 'leader_election_master_status{name="it"} 1.0\n'),
        ("/elsewhere", "jane", 403, 'cannot get path \\"/elsewhere\\"'),
    ],
)
async def test_everyone_sees_how_it_is_and_who_may_the_rest(path, token, code, said):
    status, text = await _asked(path, token)
    assert status == code
    assert said in text


async def test_a_queue_tells_how_long_keys_waited_and_were_worked_on():
    queue = WorkQueue(base_delay=0.001)
    queue.add("a")
    queue.add("a")
    assert (queue.adds, queue.waited.count) == (1, 0)
    await queue.get()
    assert queue.waited.count == 1
    assert len(queue.under_way()) == 1
    queue.add_rate_limited("a")
    queue.done("a")
    assert (queue.worked.count, queue.under_way(), queue.retries) == (1, [], 1)
    assert await queue.get() == "a"
    assert queue.adds == 2
    text = {sample.name: sample.value for family in of_queues([("q", queue)]) for sample in family.samples}
    assert text["workqueue_adds_total"] == 2
    assert text["workqueue_unfinished_work_seconds"] >= text["workqueue_longest_running_processor_seconds"] > 0
