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
    queue.something_changed()
    assert await asyncio.wait_for(waiting, 5) == "a"


async def test_a_change_does_not_shorten_the_back_off():
    queue = PodQueue(first=60.0)
    queue.add("a")
    await queue.pop()
    queue.failed("a")
    queue.something_changed()
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
