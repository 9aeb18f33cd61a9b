"""Clients that leave in the middle of an answer: nothing is said about it, and nothing of theirs stays."""

from __future__ import annotations

import asyncio
import logging

from shim.server.tests.kubelets import LOGGER, kubelet, never_silent

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"


async def _watches(api) -> int:
    lines = (await api.get("/metrics")).data.decode().splitlines()
    return sum(
        int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("apiserver_longrunning_requests{")
    )


async def test_a_watcher_that_leaves_ends_quietly(api, caplog):
    before = await _watches(api)
    path = f"{api.url}{CONFIGMAPS.replace('{ns}', api.namespace)}"
    response = await api.session.get(f"{path}?watch=1")
    await api.post(CONFIGMAPS, api.configmap("seen", data={"k": "v" * 500_000}))
    await response.content.readany()
    assert await _watches(api) == before + 1
    with caplog.at_level(logging.WARNING):
        response.close()
        while await _watches(api) > before:
            await api.post(CONFIGMAPS, {"metadata": {"generateName": "unseen-"}, "data": {"k": "v" * 500_000}})
    assert not caplog.records


async def test_a_reader_of_a_log_that_leaves_ends_quietly(api, caplog):
    left = asyncio.Event()
    async with kubelet(api, never_silent(left)) as url:
        with caplog.at_level(logging.WARNING):
            response = await api.session.get(f"{url}?follow=true")
            assert response.status == 200
            await response.content.readany()
            response.close()
            await asyncio.wait_for(left.wait(), 60)
    assert [record for record in caplog.records if record.name != LOGGER] == []
