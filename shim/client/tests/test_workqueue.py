import asyncio

from shim.client import WorkQueue


async def test_a_key_added_twice_is_handed_out_once():
    queue = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_a_key_added_while_in_work_comes_back_when_done():
    queue = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_failures_wait_longer_each_time_until_forgotten():
    queue = WorkQueue(base_delay=0.001)
    for failures in (1, 2, 3):
        queue.add_rate_limited("a")
        assert queue.failures("a") == failures
        assert await queue.get() == "a"
        queue.done("a")
    queue.forget("a")
    assert queue.failures("a") == 0


async def test_of_several_delays_the_earliest_counts():
    queue = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.001)
    queue.add_after("a", 30)
    assert await asyncio.wait_for(queue.get(), 30) == "a"


async def test_a_cancelled_reader_leaves_the_key_to_another():
    queue = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 30) == "a"
