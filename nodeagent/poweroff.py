"""Who says that the machine is about to go down? Somebody who sends SIGPWR, and systemd where it runs.

systemd's logind lets programs delay a shutdown that it has announced: whoever holds an inhibitor lock has
InhibitDelayMaxSec, which is raised to what the pods may take (https://systemd.io/INHIBITOR_LOCKS).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import Any, Protocol

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

log = logging.getLogger(__name__)

BEGIN, CANCEL = signal.SIGPWR, signal.SIGUSR1
"""What a machine without systemd is played with: ``shim fault shutdown`` and ``heal`` send these to a node's agent."""
BOOTED = Path("/run/systemd/system")  # sd_booted(3)
DROP_IN = Path("/etc/systemd/logind.conf.d/99-kubelet.conf")
RECONNECT = 1.0
PATIENCE = 5.0  # for logind to have read its configuration again

_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class Shutdown(Protocol):
    @property
    def longest(self) -> int:
        """Seconds the end of the pods may take; 0: they are given none."""

    async def begin(self) -> None: ...

    def cancel(self) -> None: ...


async def follow(shutdown: Shutdown, *, systemd: bool) -> None:
    """Until cancelled. ``systemd``: whether it is to wait, where it runs."""
    loop = asyncio.get_running_loop()
    asked: set[asyncio.Task[None]] = set()

    def begin() -> None:
        task = loop.create_task(shutdown.begin())
        asked.add(task)
        task.add_done_callback(asked.discard)

    loop.add_signal_handler(BEGIN, begin)
    loop.add_signal_handler(CANCEL, shutdown.cancel)
    try:
        if shutdown.longest and systemd and BOOTED.is_dir():
            await _follow_logind(shutdown)
        await loop.create_future()
    finally:
        loop.remove_signal_handler(BEGIN)
        loop.remove_signal_handler(CANCEL)


async def _follow_logind(shutdown: Shutdown) -> None:
    while True:
        try:
            async with contextlib.AsyncExitStack() as stack:
                await _connected(shutdown, stack)
        except Exception as error:  # whatever the bus met: it is tried again
            log.warning("systemd cannot be asked to wait for the pods at a shutdown: %s", error)
        await asyncio.sleep(RECONNECT)


async def _connected(shutdown: Shutdown, stack: contextlib.AsyncExitStack) -> None:
    """Hold a lock until a shutdown is announced and the pods have ended; until the bus goes away."""
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    stack.callback(bus.disconnect)
    announced: asyncio.Queue[bool] = asyncio.Queue()

    def heard(message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.member == "PrepareForShutdown":
            announced.put_nowait(bool(message.body[0]))

    bus.add_message_handler(heard)
    rule = f"type='signal',interface='{_LOGIND[2]}',member='PrepareForShutdown',path='{_LOGIND[1]}'"
    await _call(bus, _BUS, "AddMatch", "s", rule)
    await _allow(bus, shutdown.longest)
    lock = _Lock(bus)
    stack.callback(lock.release)
    await lock.take()
    gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
    stack.callback(gone.cancel)
    while True:
        news = asyncio.ensure_future(announced.get())
        await asyncio.wait({news, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not news.done():
            news.cancel()
            raise ConnectionError("the system bus is gone")
        if news.result():
            await shutdown.begin()
            lock.release()
        else:
            shutdown.cancel()
            await lock.take()


class _Lock:
    """As long as its file descriptor is open, logind waits."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus, self._fd = bus, -1

    async def take(self) -> None:
        self.release()
        why = "the pods of this node are given time to end"
        self._fd = await _call(self._bus, _LOGIND, "Inhibit", "ssss", "shutdown", "kubelet", why, "delay")

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def _allow(bus: MessageBus, seconds: int) -> None:
    """Have logind allow delays of so many seconds. Raises TimeoutError when it does not."""
    if await _longest_delay(bus) >= seconds:
        return
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(f"# Kubelet logind override\n[Login]\nInhibitDelayMaxSec={seconds}\n")
    await _call(bus, _SYSTEMD, "KillUnit", "ssi", "systemd-logind.service", "all", int(signal.SIGHUP))
    async with asyncio.timeout(PATIENCE):
        while await _longest_delay(bus) < seconds:  # noqa: ASYNC110  # nobody tells that it is so
            await asyncio.sleep(0.1)


async def _longest_delay(bus: MessageBus) -> float:
    properties = (*_LOGIND[:2], "org.freedesktop.DBus.Properties")
    variant = await _call(bus, properties, "Get", "ss", _LOGIND[2], "InhibitDelayMaxUSec")
    return int(variant.value) / 1_000_000


async def _call(bus: MessageBus, where: tuple[str, str, str], member: str, signature: str, *body: Any) -> Any:
    """The first value of the answer, a file descriptor as such. Raises OSError."""
    destination, path, interface = where
    message = Message(
        destination=destination, path=path, interface=interface, member=member, signature=signature, body=list(body)
    )
    answer = await bus.call(message)
    if answer is None or answer.message_type is MessageType.ERROR:
        raise OSError(f"{member} of {destination}: {answer.body[0] if answer and answer.body else 'no answer'}")
    if answer.signature == "h":
        return answer.unix_fds[answer.body[0]]
    return answer.body[0] if answer.body else None
