"""What /metrics tells of what was done."""

from __future__ import annotations

import re

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"


async def samples(api, name: str, **labels: str) -> dict[str, float]:
    """The samples of a name that have these labels: the text of all their labels, and the value."""
    return samples_of((await api.get("/metrics")).data.decode(), name, **labels)


def samples_of(text: str, name: str, **labels: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(\{{.*\}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            found[match[1] or ""] = float(match[2])
    return found


async def total(api, name: str, **labels: str) -> float:
    return sum((await samples(api, name, **labels)).values())


async def test_requests_are_counted_by_what_came_of_them_and_timed_together(api):
    about = {"verb": "GET", "resource": "configmaps", "scope": "resource"}
    name = "apiserver_request"

    async def now(code: str) -> float:
        return await total(api, f"{name}_total", code=code, **about)

    await api.post(CONFIGMAPS, api.configmap("there"))
    found, missed = await now("200"), await now("404")
    timed = await total(api, f"{name}_duration_seconds_count", **about)
    sized = await total(api, "apiserver_response_sizes_count", **about)
    for path in ("there", "there", "nowhere"):
        await api.get(f"{CONFIGMAPS}/{path}")
    assert (await now("200"), await now("404")) == (found + 2, missed + 1)
    assert await total(api, f"{name}_duration_seconds_count", **about) == timed + 3
    assert await total(api, f"{name}_sli_duration_seconds_count", **about) == timed + 3
    assert await total(api, "apiserver_response_sizes_count", **about) == sized + 3
    [text] = [text for text in await samples(api, f"{name}_duration_seconds_count", **about) if 'dry_run=""' in text]
    assert "code=" not in text


async def test_identities_are_counted_as_often_as_they_are_timed(api):
    await api.get("/version", headers={"Authorization": "Bearer nobody's"}, anonymous=True)
    text = (await api.get("/metrics")).data.decode()
    for result in ("success", "failure"):
        [counted] = samples_of(text, "authentication_attempts", result=result).values()
        [timed] = samples_of(text, "authentication_duration_seconds_count", result=result).values()
        assert counted == timed > 0
    assert await total(api, "authorization_attempts_total", result="allowed") > 0
