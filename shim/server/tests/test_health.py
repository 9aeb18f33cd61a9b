"""Health by single checks and as numbers, and the pages for people who look for a fault."""

from __future__ import annotations

import asyncio

import pytest
import yaml

from shim.server.health import CHECKS, PATHS, REPAIR, Health
from shim.server.zpages import ZPages
from shim.settings import ApiServerSettings

STATUSZ = "g=config.k8s.io;v=v1beta1;as=Statusz"


async def test_every_check_can_be_asked_alone(api):
    for root, checks in CHECKS.items():
        for check in checks:
            answer = await api.get(f"/{root}/{check}?verbose")
            assert (answer.status, answer.data) == (200, b"ok")
        for path in (f"/{root}/", f"/{root}/nope", f"/{root}/poststarthook"):
            missing = await api.get(path)
            assert (missing.status, missing.data) == (404, b"404 page not found\n")
            assert missing.headers["X-Content-Type-Options"] == "nosniff"


async def test_checks_can_be_left_out(api):
    lines = (
        (await api.get("/readyz?verbose&exclude=etcd&exclude=nope&exclude=any&exclude=nope")).data.decode().splitlines()
    )
    assert "[+]etcd excluded: ok" in lines
    assert lines[-2:] == [
        'warn: some health checks cannot be excluded: no matches for "any","nope"',
        "readyz check passed",
    ]
    assert (await api.get("/readyz?exclude=nope")).data == b"ok"


def test_what_fails_says_so_and_no_more() -> None:
    health = Health(lambda: True)
    health.works = dict.fromkeys(CHECKS["readyz"].values())
    health.stopping = True
    answer = health.answer("/readyz", {})
    assert answer is not None
    assert answer.status == 500
    assert answer.text is not None
    assert answer.text.endswith("[-]shutdown failed: reason withheld\nreadyz check failed\n")
    for path, query, status in (
        ("/readyz", {"exclude": ["shutdown"]}, 200),
        ("/readyz/shutdown", {}, 500),
        ("/livez", {}, 200),
    ):
        answer = health.answer(path, query)
        assert answer is not None
        assert answer.status == status
    assert ("shutdown", "readyz", 0) in list(health.results())


def test_a_store_that_does_not_answer_is_no_health() -> None:
    health = Health(lambda: False)
    for path in ("/readyz/etcd", "/livez", "/healthz"):
        answer = health.answer(path, {})
        assert answer is not None
        assert answer.status == 500


async def test_what_has_ended_is_no_health() -> None:
    health, ended = Health(lambda: True), asyncio.create_task(asyncio.sleep(0))
    running = asyncio.create_task(asyncio.Event().wait())
    await ended
    health.works = dict.fromkeys(set(CHECKS["livez"].values())) | {REPAIR: running}
    assert _status(health, "/livez") == 200
    health.works[REPAIR] = ended
    assert (
        _status(health, "/livez") == _status(health, "/readyz/poststarthook/start-service-ip-repair-controllers") == 500
    )
    assert _status(health, "/readyz/poststarthook/bootstrap-controller") == 200
    running.cancel()


def test_only_who_takes_turns_is_asked_about_fairness() -> None:
    path = "/readyz/poststarthook/priority-and-fairness-filter"
    assert _status(Health(lambda: True, fair=False), path) is None
    assert _status(Health(lambda: True), path) == 500


def test_a_server_whose_certificate_has_expired_is_dead() -> None:
    health = Health(lambda: True)
    assert _status(health, "/livez/loopback-serving-certificate") == 200
    health.expires = 0
    assert _status(health, "/livez/loopback-serving-certificate") == 500


def _status(health: Health, path: str) -> int | None:
    answer = health.answer(path, {})
    return answer and answer.status


async def test_checks_are_numbers_too(api):
    lines = (await api.get("/metrics/slis")).data.decode().splitlines()
    assert 'kubernetes_healthcheck{name="etcd",type="livez"} 1.0' in lines


async def test_every_path_is_listed_and_answers(api):
    listed = (await api.get("/")).json["paths"]
    assert listed == sorted(listed) == (await api.get("/index.html")).json["paths"]
    assert {"/statusz", "/flagz", "/metrics/slis", *PATHS} <= set(listed)
    for path in listed:
        if path != "/openapi/v3/":  # where documents are, as upstream lists it
            assert (await api.get(path, accept="*/*")).status == 200, path


async def test_status_is_for_people_and_for_programs(api):
    text = (await api.get("/statusz", accept="*/*")).data.decode()
    assert text.startswith("\napiserver statusz\nWarning: ")
    assert "\nEmulation version: 1.36\n" in text
    answer = await api.get("/statusz", accept=f"application/json;{STATUSZ}")
    assert answer.headers["Content-Type"] == f"application/json;{STATUSZ}"
    assert (answer.json["kind"], answer.json["apiVersion"]) == ("Statusz", "config.k8s.io/v1beta1")
    assert yaml.safe_load((await api.get("/statusz", accept=f"application/yaml;{STATUSZ}")).data)["paths"]
    refused = await api.get("/statusz", accept="application/json")
    assert (refused.status, refused.message.rpartition(", ")[2]) == (406, "text/plain")
    assert (await api.get("/statusz", accept="*/*", anonymous=True)).status == 403


async def test_flags_are_shown_without_passwords(api):
    answer = await api.get("/flagz", accept="application/json;g=config.k8s.io;v=v1alpha1;as=Flagz")
    assert answer.json["flags"]["authorization-mode"] == "RBAC"
    assert answer.headers["Warning"].startswith('299 - "This version of the flagz endpoint is deprecated.')
    assert f"\ndata-dir={api.directory}\n" in (await api.get("/flagz", accept="text/plain")).data.decode()


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
async def test_the_version_can_only_be_read(api, method):
    assert (await api.ask(method, "/version")).status == 405


def test_the_password_of_a_store_is_not_shown(tmp_path) -> None:
    settings = ApiServerSettings(data_dir=tmp_path, store="etcd://root:secret@10.0.0.1:2379,10.0.0.2:2379")
    answer = ZPages(settings).answer("/flagz", "text/plain")
    assert answer is not None
    assert "store=etcd://***@10.0.0.1:2379,10.0.0.2:2379\n" in (answer.text or "")
