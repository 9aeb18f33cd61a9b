"""Priority and fairness as clients meet it: who is told of what class, who waits, who is turned away, what is shown."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from shim.server.tests.conftest import serving, tls

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
SCHEMAS, LEVELS = f"{GROUP}/flowschemas", f"{GROUP}/prioritylevelconfigurations"
DUMPS = "/debug/api_priority_and_fairness"
HEADERS = ("X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid")
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
_levels = count()


@asynccontextmanager
async def _level(api, users, *, queues=4, length=1, hand=1) -> AsyncIterator[str]:
    """A level of a few seats that cannot borrow any, and a schema that leads these users there."""
    name = f"narrow-{next(_levels)}"
    response = {"type": "Reject"}
    if queues:
        response = {"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length}}
    limited = {"nominalConcurrencyShares": 1, "borrowingLimitPercent": 0, "limitResponse": response}
    subjects = [{"kind": "User", "user": {"name": user}} for user in users]
    paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    rules = [{"subjects": subjects, "resourceRules": [EVERYTHING], "nonResourceRules": [paths]}]
    spec = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 700, "rules": rules}
    spec["distinguisherMethod"] = {"type": "ByUser"}
    made = await api.post(LEVELS, {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}})
    assert made.status == 201, made.data
    schema = await api.post(SCHEMAS, {"metadata": {"name": name}, "spec": spec})
    assert schema.status == 201, schema.data
    uids = [schema.json["metadata"]["uid"], made.json["metadata"]["uid"]]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subjects = [{"apiGroup": role["apiGroup"], "kind": "User", "name": user} for user in users]
    binding = {"metadata": {"generateName": "all-"}, "roleRef": role, "subjects": subjects}
    bound = await api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings", binding)
    assert bound.status == 201, bound.data
    await _classified(api, users[0], uids)
    try:
        yield name
    finally:
        await api.delete(f"{SCHEMAS}/{name}")
        await api.delete(f"{LEVELS}/{name}")


async def _classified(api, user: str, uids: list[str]) -> None:
    for _ in range(1000):
        if [(await api.get("/api", headers=_as(user))).headers[each] for each in HEADERS] == uids:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the schema is never used")


def _as(user: str) -> dict[str, str]:
    return {"Impersonate-User": user}


class Holder:
    """A client whose request has a seat, or waits for one, until its body ends or it leaves."""

    def __init__(self, api, user: str) -> None:
        self._api, self._user = api, user

    async def come(self) -> Holder:
        context: ssl.SSLContext = tls(self._api.directory / "admin.kubeconfig")
        host, port = self._api.url.removeprefix("https://").split(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port), ssl=context)
        self.writer.write(
            f"POST /api/v1/namespaces/{self._api.namespace}/configmaps HTTP/1.1\r\nHost: x\r\n"
            f"Impersonate-User: {self._user}\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{".encode()
        )
        return self

    async def end(self) -> bytes:
        """Send the rest; returns the head of the answer."""
        self.writer.write(b"}")
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.leave()
        return head

    def leave(self) -> None:
        self.writer.close()


async def _now(api, level: str) -> dict[str, int]:
    """What the table of levels says of one."""
    header, *rows = (await api.get(f"{DUMPS}/dump_priority_levels")).data.decode().splitlines()
    found = next(row for row in rows if row.startswith(f"{level},"))
    cells = [[cell.strip() for cell in line.split(",")] for line in (header, found)]
    return {name: int(value) for name, value in zip(*cells, strict=True) if value.isdigit()}


async def _until(api, level: str, **wanted: int) -> None:
    found: dict[str, int] = {}
    for _ in range(1000):
        if wanted.items() <= (found := await _now(api, level)).items():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{found}, not {wanted}")


async def _come(api, user: str, number: int) -> list[Holder]:
    """So many requests of one user, of which some wait."""
    return [await Holder(api, user).come() for _ in range(number)]


async def _samples(api, name: str, **labels: str) -> float:
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    total = 0.0
    for line in (await api.get("/metrics")).data.decode().splitlines():
        if re.match(rf"{name}[{{ ]", line) and all(each in line for each in wanted):
            total += float(line.rpartition(" ")[2])
    return total


async def _seats(api, level: str) -> int:
    return int(await _samples(api, "apiserver_flowcontrol_nominal_limit_seats", priority_level=level))


async def _full(api, level: str, user: str) -> list[Holder]:
    """A request of this user in every seat of a level."""
    seats = await _seats(api, level)
    holders = await _come(api, user, seats)
    await _until(api, level, ExecutingRequests=seats, WaitingRequests=0)
    return holders


async def test_every_answer_says_how_its_request_was_classified(api) -> None:
    uid = {}
    for path, name in ((SCHEMAS, "exempt"), (LEVELS, "exempt"), (SCHEMAS, "probes"), (SCHEMAS, "global-default")):
        uid[path, name] = (await api.get(f"{path}/{name}")).json["metadata"]["uid"]
    mine = await api.get("/api/v1/namespaces/default")
    assert [mine.headers[each] for each in HEADERS] == [uid[SCHEMAS, "exempt"], uid[LEVELS, "exempt"]]
    for path in ("/livez", "/healthz/etcd"):
        assert (await api.get(path, headers=_as("alice"))).headers[HEADERS[0]] == uid[SCHEMAS, "probes"]
    missing = await api.get("/api/v1/namespaces/default/pods/missing")
    assert (missing.status, missing.headers[HEADERS[0]]) == (404, uid[SCHEMAS, "exempt"])
    forbidden = await api.get("/api/v1/nodes", headers=_as("alice"))
    assert (forbidden.status, forbidden.headers[HEADERS[0]]) == (403, uid[SCHEMAS, "global-default"])
    watched = await api.get("/api/v1/namespaces?watch=1&timeoutSeconds=1")
    assert watched.headers[HEADERS[0]] == uid[SCHEMAS, "exempt"]
    unknown = await api.get("/api", headers={"Authorization": "Bearer nonsense"}, anonymous=True)
    assert (unknown.status, HEADERS[0] in unknown.headers) == (401, False)


async def test_a_flood_of_one_user_leaves_another_their_turn(api) -> None:
    async with _level(api, ["flood-a", "polite-b"], queues=64, hand=2) as level:
        flood = await _full(api, level, "flood-a")
        seats = len(flood)
        assert seats > 0
        flood += await _come(api, "flood-a", 2)
        await _until(api, level, WaitingRequests=2)  # both of its queues are full
        refused = await api.get("/api", headers=_as("flood-a"))
        assert (refused.status, refused.data) == (429, b"Too many requests, please try again later.\n")
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Content-Type"] == "text/plain; charset=utf-8"
        schema = await api.get(f"{SCHEMAS}/{level}")
        assert refused.headers[HEADERS[0]] == schema.json["metadata"]["uid"]
        polite = asyncio.create_task(api.get("/api", headers=_as("polite-b")))
        await _until(api, level, WaitingRequests=3)
        assert b" 422 " in await flood[0].end()  # for it has no name
        assert b" 422 " in await flood[1].end()
        assert b" 422 " in await flood[2].end()
        assert (await polite).status == 200
        labels = {"priority_level": level, "flow_schema": level}
        assert await _samples(api, "apiserver_flowcontrol_rejected_requests_total", reason="queue-full", **labels) == 1
        labels["execute"] = "true"
        waited = await _samples(api, "apiserver_flowcontrol_request_wait_duration_seconds_count", **labels)
        assert waited >= seats + 3
        assert await _samples(api, "apiserver_request_terminations_total", code="429") >= 1
        for holder in flood[3:]:
            holder.leave()
        await _until(api, level, ExecutingRequests=0, WaitingRequests=0)


async def test_who_leaves_gives_back_a_seat_and_a_place_in_the_queue(api) -> None:
    async with _level(api, ["leaver"], queues=1) as level:
        holders = await _full(api, level, "leaver")
        [waiting] = await _come(api, "leaver", 1)
        await _until(api, level, WaitingRequests=1)
        waiting.leave()
        await _until(api, level, ExecutingRequests=len(holders), WaitingRequests=0, CancelledRequests=1)
        for holder in holders:
            holder.leave()
        await _until(api, level, ExecutingRequests=0)
        assert (await api.get("/api", headers=_as("leaver"))).status == 200


async def test_without_queues_who_finds_no_seat_is_turned_away(api) -> None:
    async with _level(api, ["hasty"], queues=0) as level:
        holders = await _full(api, level, "hasty")
        assert (await api.get("/api", headers=_as("hasty"))).status == 429
        assert b" 422 " in await holders[0].end()
        assert (await api.get("/api", headers=_as("hasty"))).status == 200
        for holder in holders[1:]:
            holder.leave()
        await _until(api, level, ExecutingRequests=0, RejectedRequests=1)


async def test_who_waits_too_long_is_turned_away(api) -> None:
    async with _level(api, ["patient"], queues=1) as level:
        holders = await _full(api, level, "patient")
        late = await api.get("/api?timeout=400ms", headers=_as("patient"))
        assert late.status == 429
        await _until(api, level, WaitingRequests=0, RejectedRequests=1, CancelledRequests=1)
        for holder in holders:
            holder.leave()
        await _until(api, level, ExecutingRequests=0)


async def test_a_watch_has_a_seat_only_while_it_begins(api) -> None:
    async with _level(api, ["watcher"], queues=0) as level:
        path = f"{api.url}/api/v1/namespaces/{api.namespace}/configmaps?watch=1"
        headers = _as("watcher")
        seats = await _seats(api, level)
        watches = [await api.session.get(path, headers=headers) for _ in range(seats + 3)]
        assert {watch.status for watch in watches} == {200}
        await _until(api, level, ExecutingRequests=0)
        labels = {"priority_level": level, "type": "watch"}
        assert await _samples(api, "apiserver_flowcontrol_request_execution_seconds_count", **labels) == seats + 3
        for watch in watches:
            watch.close()


async def test_a_level_that_is_deleted_goes_when_its_last_request_has(api) -> None:
    async with _level(api, ["last"]) as level:
        [holder] = await _come(api, "last", 1)
        await _until(api, level, ExecutingRequests=1)
    while f"{level}," in (text := (await api.get(f"{DUMPS}/dump_priority_levels")).data.decode()):
        if re.search(rf"{level}, +0, +false, +true,", text):
            break
    else:
        raise AssertionError("it went too early")
    assert b" 422 " in await holder.end()
    assert f"{level}," not in (await api.get(f"{DUMPS}/dump_priority_levels")).data.decode()


async def test_dumps_show_what_is_going_on(api) -> None:
    text = (await api.get(f"{DUMPS}/dump_requests?includeRequestDetails=1")).data.decode()
    header, *rows = text.splitlines()
    assert header.startswith("PriorityLevelName, FlowSchemaName, QueueIndex, RequestIndexInQueue, FlowDistingsher,")
    assert header.endswith(" APIVersion, Resource, SubResource")
    date = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"
    work = rf"{date}, +1, +0, +0s, +{date}"
    mine = rf"exempt, +exempt, +-1, +-1, +, +{work}, +kubernetes-admin, get, +{DUMPS}/dump_requests,.*"
    assert any(re.fullmatch(mine, row) for row in rows), rows
    queues = (await api.get(f"{DUMPS}/dump_queues")).data.decode().splitlines()
    assert queues[0].startswith(
        "PriorityLevelName, Index,  PendingRequests, ExecutingRequests, SeatsInUse, NextDispatchR,"
    )
    assert sum(row.startswith("global-default,") for row in queues) == 128
    levels = await api.get(f"{DUMPS}/dump_priority_levels")
    assert levels.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert re.search(r"^catch-all,         0,            true,   false,       0, ", levels.data.decode(), re.MULTILINE)
    assert (await api.get(f"{DUMPS}/dump_nothing")).status == 404
    refused = await api.get(f"{DUMPS}/dump_queues", headers=_as("alice"))
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")


async def test_what_is_mandatory_is_there_without_objects(api) -> None:
    metrics = await _samples(api, "apiserver_flowcontrol_current_limit_seats", priority_level="catch-all")
    assert metrics > 0


async def test_without_it_there_are_two_classes(tmp_path) -> None:
    async with serving(tmp_path, enable_priority_and_fairness=False) as plain:
        answer = await plain.get("/api")
        assert (answer.status, HEADERS[0] in answer.headers) == (200, False)
        assert (await plain.get(f"{DUMPS}/dump_queues")).status == 404
        metrics = (await plain.get("/metrics")).data.decode()
        assert "apiserver_flowcontrol_" not in metrics
        assert 'apiserver_current_inflight_requests{request_kind="readOnly"} 1.0' in metrics
        assert {event["type"] for event in await plain.watch("/api/v1/namespaces")} == {"ADDED"}
