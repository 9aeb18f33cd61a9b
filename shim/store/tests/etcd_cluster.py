"""A real etcd cluster for tests, on the loopback: its members can be killed, frozen and started again."""

from __future__ import annotations

import os
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

    def __init__(self, folder: Path, size: int = 1, *flags: str, scheme: str = "http", apart: bool = False) -> None:
        """``apart``: each member is in a network namespace of its own, so that it can be cut off. Needs root."""
        assert ETCD.exists(), f"{ETCD} is missing; `./setup.sh dev` fetches it"
        ports = [2379] * size + [2380] * size if apart else _free_ports(2 * size)
        self._folder, self._flags, self._scheme = folder, flags, scheme
        self._network = Network(size) if apart else None
        hosts = self._network.addresses if self._network else ["127.0.0.1"] * size
        self.clients = [f"{host}:{port}" for host, port in zip(hosts, ports[:size], strict=True)]
        self._peers = [f"http://{host}:{port}" for host, port in zip(hosts, ports[size:], strict=True)]
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
            inside = self._network.inside(number) if self._network else []
            self._processes[number] = subprocess.Popen([*inside, *command, *self._flags], stdout=log, stderr=log)

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

    def cut_off(self, number: int) -> None:
        """This member hears no other any more, and none hears it; clients reach it as before."""
        assert self._network is not None
        self._network.cut_off(number)

    def heal(self, number: int) -> None:
        assert self._network is not None
        self._network.heal(number)

    def stop(self) -> None:
        self.kill(*list(self._processes))
        if self._network is not None:
            self._network.remove()


class Network:
    """A switch, with this machine and a namespace for each member at it."""

    def __init__(self, size: int) -> None:
        name = f"et{os.getpid() % 10_000}"
        self._name, subnet = name, f"198.19.{os.getpid() % 250}"
        self.addresses = [f"{subnet}.{11 + number}" for number in range(size)]
        self._switch = f"{name}-s"
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        self._plug(name, f"{subnet}.1", "1")
        for number, address in enumerate(self.addresses):
            _ip("netns", "add", f"{name}-{number}")
            self._plug("eth0", address, f"{name}-{number}")
            _ip("-n", f"{name}-{number}", "link", "set", "lo", "up")

    def _plug(self, link: str, address: str, netns: str) -> None:
        """``netns`` is a name, or the number of a process in it."""
        port = f"p{address.rpartition('.')[2]}"
        _ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", link, "netns", netns)
        _ip("-n", self._switch, "link", "set", port, "master", "switch", "up")
        there = [] if netns == "1" else ["-n", netns]
        _ip(*there, "addr", "add", f"{address}/24", "dev", link)
        _ip(*there, "link", "set", link, "up")

    def inside(self, number: int) -> list[str]:
        """What to put before a command."""
        return ["nsenter", f"--net=/run/netns/{self._name}-{number}"]

    def cut_off(self, number: int) -> None:
        for chain in ("INPUT", "OUTPUT"):
            for side in ("--dport", "--sport"):
                rule = ["iptables", "-A", chain, "-p", "tcp", side, "2380", "-j", "DROP"]
                subprocess.run([*self.inside(number), *rule], check=True)

    def heal(self, number: int) -> None:
        subprocess.run([*self.inside(number), "iptables", "-F"], check=True)

    def remove(self) -> None:
        for number in range(len(self.addresses)):
            _ip("netns", "del", f"{self._name}-{number}")
        _ip("netns", "del", self._switch)  # with it goes this machine's end of the cable


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _free_ports(count: int) -> list[int]:
    """All at once, so that none is given out twice."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
