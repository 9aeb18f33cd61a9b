"""What tells an agent that its machine goes down: a signal; and logind, played here on a bus of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator

import pytest
from dbus_fast import BusType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from nodeagent import poweroff


class Pods:
    """What happens to the pods of a node."""

    def __init__(self, longest: int = 30) -> None:
        self.longest = longest
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def begin(self) -> None:
        self.told.put_nowait("begin")
        await self.ended.wait()

    def cancel(self) -> None:
        self.told.put_nowait("cancel")

    async def next(self) -> str:
        async with asyncio.timeout(60):
            return await self.told.get()


async def test_a_signal_tells_it() -> None:
    pods = Pods()
    following = asyncio.create_task(poweroff.follow(pods, systemd=False))
    await asyncio.sleep(0)
    os.kill(os.getpid(), poweroff.BEGIN)
    assert await pods.next() == "begin"
    os.kill(os.getpid(), poweroff.CANCEL)
    assert await pods.next() == "cancel"
    following.cancel()
    await asyncio.wait({following})
    assert signal.getsignal(poweroff.BEGIN) == signal.SIG_DFL


class Logind(ServiceInterface):
    """As much of org.freedesktop.login1.Manager as is asked for; a lock is a pipe whose other end is closed."""

    def __init__(self) -> None:
        super().__init__("org.freedesktop.login1.Manager")
        self.delay = 5_000_000
        self.locks: list[int] = []

    @dbus_method()
    def Inhibit(self, what: "s", who: "s", why: "s", mode: "s") -> "h":  # type: ignore[name-defined]  # noqa: F821, UP037
        assert (what, who, mode) == ("shutdown", "kubelet", "delay")
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        self.locks.append(readable)
        asyncio.get_running_loop().call_later(1.0, os.close, writable)  # once it has been sent
        return writable

    @dbus_property(access=PropertyAccess.READ)
    def InhibitDelayMaxUSec(self) -> "t":  # type: ignore[name-defined]  # noqa: F821, UP037
        return self.delay

    @dbus_signal()
    def PrepareForShutdown(self, start: bool) -> "b":  # type: ignore[name-defined]  # noqa: F821, UP037
        return start

    async def until_released(self, lock: int) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    if os.read(lock, 1) == b"":
                        return
                except BlockingIOError:
                    await asyncio.sleep(0.02)

    def held(self, lock: int) -> bool:
        try:
            return os.read(lock, 1) != b""
        except BlockingIOError:
            return True


class Systemd(ServiceInterface):
    def __init__(self, logind: Logind) -> None:
        super().__init__("org.freedesktop.systemd1.Manager")
        self._logind = logind

    @dbus_method()
    def KillUnit(self, name: "s", who: "s", number: "i"):  # type: ignore[name-defined,no-untyped-def]  # noqa: F821, UP037
        assert (name, who, number) == ("systemd-logind.service", "all", signal.SIGHUP)
        told = poweroff.DROP_IN.read_text().splitlines()[-1]
        self._logind.delay = int(told.removeprefix("InhibitDelayMaxSec=")) * 1_000_000


@pytest.fixture
async def logind(tmp_path, monkeypatch) -> AsyncIterator[Logind]:
    monkeypatch.setattr(poweroff, "DROP_IN", tmp_path / "logind.conf.d" / "99-kubelet.conf")
    monkeypatch.setattr(poweroff, "BOOTED", tmp_path)
    config = tmp_path / "bus.conf"
    config.write_text(
        '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"'
        ' "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"><busconfig><type>system</type>'
        f"<listen>unix:path={tmp_path}/bus</listen><auth>EXTERNAL</auth><policy context='default'>"
        "<allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/></policy></busconfig>"
    )
    daemon = shutil.which("dbus-daemon")
    assert daemon, "dbus-daemon is missing: ./setup.sh dev installs it"
    running = await asyncio.create_subprocess_exec(
        daemon, f"--config-file={config}", "--nofork", "--nopidfile", "--print-address", stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout is not None
    address = (await running.stdout.readline()).decode().strip()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    it = Logind()
    bus.export("/org/freedesktop/login1", it)
    bus.export("/org/freedesktop/systemd1", Systemd(it))
    for name in ("org.freedesktop.login1", "org.freedesktop.systemd1"):
        await bus.request_name(name)
    try:
        yield it
    finally:
        bus.disconnect()
        running.terminate()
        await running.wait()


async def test_logind_waits_until_the_pods_have_ended(logind) -> None:
    pods = Pods(longest=30)
    following = asyncio.create_task(poweroff.follow(pods, systemd=True))
    try:
        async with asyncio.timeout(60):
            while not logind.locks:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert logind.delay == 30_000_000  # it allowed too little
        (first,) = logind.locks
        logind.PrepareForShutdown(True)
        assert await pods.next() == "begin"
        assert logind.held(first)
        pods.ended.set()
        await logind.until_released(first)
        logind.PrepareForShutdown(False)
        assert await pods.next() == "cancel"
        async with asyncio.timeout(60):
            while len(logind.locks) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert logind.held(logind.locks[1])
    finally:
        following.cancel()
        await asyncio.wait({following})
    await logind.until_released(logind.locks[1])
