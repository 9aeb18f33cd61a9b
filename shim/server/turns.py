"""Work on large custom objects is done in a thread: there the interpreter lets others run every few milliseconds.

In the loop nobody else would be answered until it is over: a schema is walked, fields are counted to their owners, and
of twenty thousand items in a list that takes a second and more. A small object is done with before a thread is awake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from shim.resources.strategy import Resource

LARGE = 128 * 1024  # bytes

T = TypeVar("T")


def is_large(resource: Resource, data: bytes) -> bool:
    """Whether an object takes so long; built-in kinds never do, and what is asked of them may need the loop."""
    return resource.custom and len(data) > LARGE


async def taking_turns(large: bool, work: Callable[[], T]) -> T:
    """Do it, and let others be answered meanwhile where the object is large."""
    return await asyncio.to_thread(work) if large else work()
