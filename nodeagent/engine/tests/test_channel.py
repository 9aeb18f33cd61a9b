"""The other end of a channel may go at any moment: a zygote or a monitor is killed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nodeagent.engine.channel import Channel
from nodeagent.engine.contract import EngineError


async def test_who_is_gone_when_something_is_sent_is_lost_by_name(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        channel = Channel.open(str(tmp_path / "s"))
        listening.accept()[0].close()
        with pytest.raises(EngineError, match="container was lost"):
            channel.send({"op": "container"})
        assert await channel.receive() is None
        channel.close()
