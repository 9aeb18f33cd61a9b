import asyncio

from shim.client import Client
from shim.client import resource as r
from shim.controllers import loop
from shim.controllers.loop import Context, Controller, keep_running
from shim.settings import ControllerSettings


def context(tmp_path) -> Context:
    return Context(Client("http://127.0.0.1:1"), ControllerSettings(kubeconfig=tmp_path / "none"))


async def test_a_key_that_fails_is_tried_again_and_disturbs_no_other(tmp_path):
    class Fails(Controller):
        name = "fails"
        workers = 1
        worked: list[str]

        async def reconcile(self, key: str) -> None:
            self.worked.append(key)
            if key == "bad" and self.worked.count("bad") < 3:
                raise RuntimeError("not yet")
            if {"bad", "good"} <= set(self.worked) and self.worked.count("bad") == 3:
                finished.set()

    finished = asyncio.Event()
    controller = Fails(context(tmp_path))
    controller.worked = []
    controller.queue.add("bad")
    controller.queue.add("good")
    running = asyncio.create_task(controller.run())
    await asyncio.wait_for(finished.wait(), 30)
    running.cancel()

    assert controller.worked == ["bad", "good", "bad", "bad"]
    assert controller.queue.failures("bad") <= 2


async def test_a_controller_that_ends_is_begun_again(monkeypatch, caplog):
    monkeypatch.setattr(loop, "RESTART", 0.0)
    begun = []
    third = asyncio.Event()

    async def start() -> None:
        begun.append(1)
        if len(begun) == 2:
            raise RuntimeError("broken")
        if len(begun) == 3:
            third.set()
            await asyncio.Future()

    running = asyncio.create_task(keep_running("fragile", start))
    await asyncio.wait_for(third.wait(), 30)
    running.cancel()

    assert [record.message for record in caplog.records] == ["fragile ended unexpectedly", "fragile failed"]


async def test_informers_are_shared(tmp_path):
    ctx = context(tmp_path)
    assert ctx.informer(r.PODS) is ctx.informer(r.PODS)
    assert ctx.recorder("a") is ctx.recorder("a")
