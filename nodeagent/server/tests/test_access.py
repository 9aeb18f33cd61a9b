"""Who is let into the kubelet's API: whom the API server knows, and allows this node's subresource."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from nodeagent.server.access import Access, subresources_of
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client.reviews import User, user_of


class Reviews:
    """An API server that knows the token ``jane`` and lets her read metrics."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def create(self, kind: Any, body: Object) -> Object:
        if self.away:
            raise ApiError(503, "ServiceUnavailable", "away")
        self.asked.append(body["kind"])
        if body["kind"] == "TokenReview":
            known = body["spec"]["token"] == "jane"
            return {"status": {"authenticated": known, "user": {"username": "jane", "groups": ["readers"]}}}
        asked = body["spec"]["resourceAttributes"]
        allowed = (body["spec"]["user"], asked["subresource"], asked["verb"]) == ("jane", "metrics", "get")
        return {"status": {"allowed": allowed and asked["name"] == "n1" and asked["resource"] == "nodes"}}


async def answer(reviews: Reviews, path: str, token: str = "", times: int = 1) -> tuple[int, str]:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application(middlewares=[Access(reviews, "n1").check])  # type: ignore[arg-type]
    app.router.add_route("*", "/{path:.*}", hello)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with TestClient(TestServer(app)) as client:
        for _ in range(times):
            found = await client.get(path, headers=headers)
        return found.status, await found.text()


@pytest.mark.parametrize(
    ("path", "token", "expected"),
    [
        ("/metrics/cadvisor", "jane", (200, "hello")),
        ("/metrics", "", (401, "Unauthorized")),
        ("/metrics", "joe", (401, "Unauthorized")),
        (
            "/exec/ns/p/c",
            "jane",
            (403, "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[proxy])\n"),
        ),
        ("/pods", "jane", (403, "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[pods proxy])\n")),
    ],
)
async def test_who_asks_and_may(path, token, expected):
    assert await answer(Reviews(), path, token) == expected


async def test_answers_are_remembered():
    reviews = Reviews()
    assert await answer(reviews, "/metrics", "jane", times=3) == (200, "hello")
    assert reviews.asked == ["TokenReview", "SubjectAccessReview"]


async def test_without_an_api_server_nobody_gets_in():
    reviews = Reviews()
    reviews.away = True
    assert (await answer(reviews, "/metrics", "jane"))[0] == 500


def test_a_certificate_names_a_user_and_groups():
    subject = ((("organizationName", "a"),), (("organizationName", "b"),), (("commonName", "jane"),))
    assert user_of({"subject": subject}) == User("jane", ("a", "b", "system:authenticated"))


@pytest.mark.parametrize(
    ("path", "subresources"),
    [
        ("/stats/summary", ("stats",)),
        ("/metrics/resource", ("metrics",)),
        ("/configz", ("configz", "proxy")),
        ("/containerLogs/ns/p/c", ("proxy",)),
        ("/checkpoint/ns/p/c", ("checkpoint",)),
        ("/run/ns/p/c", ("proxy",)),
        ("/", ("proxy",)),
    ],
)
def test_what_a_path_needs(path, subresources):
    assert subresources_of(path) == subresources
