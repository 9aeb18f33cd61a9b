"""What is passed on to another server is no longer this one's work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shim.server.aggregation.relay import relay
from shim.server.errors import PlainError
from shim.server.flowcontrol.gate import SEAT
from shim.server.users import ANONYMOUS


async def test_a_watch_that_is_passed_on_gives_its_seat_back() -> None:
    left: list[str] = []
    http: Any = {SEAT: SimpleNamespace(leave=lambda: left.append("seat"))}
    extension: Any = SimpleNamespace(available=False)
    with pytest.raises(PlainError):
        await relay(http, "/apis/example.com/v1/fruits", ANONYMOUS, extension)
    assert left == ["seat"]
