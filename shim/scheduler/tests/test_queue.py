import asyncio

from shim.scheduler.queue import PodQueue


async def test_the_more_important_and_then_the_older_pod_is_first():
    queue = PodQueue()
    queue.add("old")
    queue.add("new")
    queue.add("important", 100)
    assert [await queue.pop() for _ in range(3)] == ["important", "old", "new"]


async def test_a_pod_that_fits_nowhere_waits_for_a_change():
    queue = PodQueue(first=0.0)
    queue.add("a")
    await queue.pop()
    queue.failed("a")
    waiting = asyncio.create_task(queue.pop())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.something_changed("node appeared")
    assert await asyncio.wait_for(waiting, 30) == "a"


async def test_a_change_that_cannot_help_wakes_nobody():
    queue = PodQueue(first=0.0)
    queue.add("full")
    queue.add("tainted")
    await queue.pop()
    await queue.pop()
    queue.failed("full", {"NodeResourcesFit"})
    queue.failed("tainted", {"TaintToleration"})
    queue.something_changed("pod went")
    assert await asyncio.wait_for(queue.pop(), 30) == "full"
    waiting = asyncio.create_task(queue.pop())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.something_changed("node has other taints")
    assert await asyncio.wait_for(waiting, 30) == "tainted"


async def test_a_change_does_not_shorten_the_back_off():
    queue = PodQueue(first=60.0)
    queue.add("a")
    await queue.pop()
    queue.failed("a")
    queue.something_changed("node appeared")
    queue.add("b")
    assert await queue.pop() == "b"
    queue.add("a")  # it was changed itself: that counts at once
    assert await queue.pop() == "a"


async def test_a_removed_pod_is_not_handed_out():
    queue = PodQueue()
    queue.add("a")
    queue.add("b")
    queue.remove("a")
    assert await queue.pop() == "b"
    assert "a" not in queue
