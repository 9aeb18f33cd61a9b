"""A real etcd cluster for tests, on the loopback: its members can be killed, frozen and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

ETCD = Path(sys.executable).parent.parent / "etcd" / "etcd"
READY = 30.0


class EtcdCluster:
    """``size`` members with their data below ``folder``."""

    def __init__(self, folder: Path, size: int = 1, *flags: str, scheme: str = "http") -> None:
        assert ETCD.exists(), f"{ETCD} is missing; `./setup.sh dev` fetches it"
        ports = _free_ports(2 * size)
        self._folder, self._flags, self._scheme = folder, flags, scheme
        self.clients = [f"127.0.0.1:{port}" for port in ports[:size]]
        self._peers = [f"http://127.0.0.1:{port}" for port in ports[size:]]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"etcd://{','.join(self.clients)}"

    def start(self, *numbers: int) -> None:
        """Start these members (all without numbers), and wait until they serve."""
        numbers = numbers or tuple(range(len(self.clients)))
        for number in numbers:
            self._start(number)
        for number in numbers:
            self._wait(number)

    def _start(self, number: int) -> None:
        names = [f"m{each}={url}" for each, url in enumerate(self._peers)]
        client, peer = f"{self._scheme}://{self.clients[number]}", self._peers[number]
        settings = {
            "name": f"m{number}",
            "data-dir": str(self._folder / f"m{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(names),
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "log-level": "error",
            "unsafe-no-fsync": "",
        }
        command = [str(ETCD), *(f"--{key}={value}" if value else f"--{key}" for key, value in settings.items())]
        with (self._folder / f"m{number}.log").open("ab") as log:
            self._processes[number] = subprocess.Popen([*command, *self._flags], stdout=log, stderr=log)

    def _wait(self, number: int) -> None:
        """A member listens once it has joined the others."""
        host, port = self.clients[number].split(":")
        end = time.monotonic() + READY
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                log = (self._folder / f"m{number}.log").read_text()
                assert self._processes[number].poll() is None, log
                assert time.monotonic() < end, log
                time.sleep(0.02)

    def kill(self, *numbers: int) -> None:
        """As if the power of these members failed."""
        for number in numbers:
            process = self._processes.pop(number)
            process.kill()
            process.wait()

    def freeze(self, *numbers: int) -> None:
        """Nobody hears from these members any more, but their connections stay: as if the network were cut."""
        for number in numbers:
            self._processes[number].send_signal(signal.SIGSTOP)

    def thaw(self, *numbers: int) -> None:
        for number in numbers:
            self._processes[number].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.kill(*list(self._processes))


def _free_ports(count: int) -> list[int]:
    """All at once, so that none is given out twice."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
