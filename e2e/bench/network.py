"""The network proxy of one node: many Services into the kernel, one change of them, and names answered."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dnslib import DNSRecord

from e2e.bench import limits
from e2e.bench.api import free_port
from netproxy.links import namespaces, virtual
from shim.api.meta import Object
from shim.client import Client
from shim.client import resource as r

if TYPE_CHECKING:
    from e2e.bench.__main__ import Figure

NAME, NODE = "bench", "node-1"
SERVICES, ENDPOINTS = 2000, 4
CLIENTS = 16
CHANGES = 20
QUESTIONS, AT_ONCE = 60_000, 64


def measure(folder: Path, say: Callable[[str], object]) -> list[Figure]:
    """An API server, and a netproxy in a network namespace of its own; there are no pods behind the Services."""
    ranges = virtual.pick_ranges(NAME)
    say(f"{SERVICES} Services with {ENDPOINTS} endpoints each")
    with contextlib.ExitStack() as stack:
        stack.callback(virtual.remove_all, NAME)
        virtual.create_cluster_network(NAME, **ranges._asdict())
        address = ranges.node_cidr.replace(".0/24", ".11")
        netns = virtual.create_node(NAME, NODE, address)
        kubeconfig = stack.enter_context(_api_server(folder / "network", ranges))
        asyncio.run(_fill(kubeconfig))
        command = ["--kubeconfig", str(kubeconfig), "--node-name", NODE, "--node-ip", address]
        dns = ranges.service_cidr.replace(".0.0/16", ".0.10")
        command += ["--cluster-cidr", ranges.pod_cidr, "--service-cidr", ranges.service_cidr, "--cluster-dns", dns]
        began = time.perf_counter()
        log, pid = stack.enter_context(_netproxy(command, netns, folder / "netproxy.log"))
        while "netproxy: ready" not in log.read_text():
            time.sleep(0.005)
        first = time.perf_counter() - began
        say("one endpoint changes")
        change = asyncio.run(_changes(kubeconfig, netns))
        memory = _private(pid)
        say("names")
        with namespaces.inside(netns):
            answers = _rate(dns, 53)
            echo = limits.bare_echo()
            try:
                bare = _rate("127.0.0.1", echo.port)
            finally:
                limits.stop(echo.pid)
    return _figures(first, change, memory, answers, bare)


def _figures(first: float, change: float, memory: float, answers: float, bare: float) -> list[Figure]:
    from e2e.bench.__main__ import Figure

    many = f"{SERVICES} Services x {ENDPOINTS} endpoints"
    return [
        Figure(f"{many}: netproxy started -> all in the kernel", first, "s", aim="<= 2.5 s"),
        Figure(f"{many}: one endpoint written -> in the kernel, p50", change * 1e3, "ms", aim="<= 100 ms"),
        Figure(f"{many}: netproxy's own memory", memory / 2**20, "MiB", aim="<= 60 MB"),
        Figure("cluster DNS, UDP", answers, "answers/s", bare, "/s bare echo", ">= 30,000/s"),
    ]


@contextlib.contextmanager
def _api_server(data: Path, ranges: virtual.Ranges) -> Iterator[Path]:
    port = free_port()
    command = [sys.executable, "-m", "shim", "apiserver", "--data-dir", str(data), "--port", str(port)]
    command += ["--bind", ranges.machine, "--service-cidr", ranges.service_cidr, "--authorization-mode", "AlwaysAllow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as part:
        try:
            assert part.stdout is not None
            part.stdout.readline()
            yield data / "admin.kubeconfig"
        finally:
            part.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def _netproxy(arguments: list[str], netns: Path, log: Path) -> Iterator[tuple[Path, int]]:
    """As ``shim up`` starts it: forked from a process that has imported everything."""
    import netproxy.__main__

    log.touch()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(log, os.O_WRONLY), 2)
            sys.argv = ["netproxy", *arguments]
            with namespaces.inside(netns):
                netproxy.__main__.main()
        finally:
            os._exit(0)
    gc.unfreeze()
    try:
        yield log, pid
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


async def _fill(kubeconfig: Path) -> None:
    async with Client.from_kubeconfig(kubeconfig, user_agent="bench") as client:
        node: Object = {"metadata": {"name": NODE}, "spec": {"podCIDR": "10.244.1.0/24"}}
        await client.create(r.NODES, {"apiVersion": "v1", "kind": "Node", **node})

        async def some(start: int) -> None:
            for number in range(start, SERVICES, CLIENTS):
                name = f"s{number:04d}"
                spec = {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
                await client.create(r.SERVICES, {"metadata": {"name": name}, "spec": spec}, "default")
                await client.create(r.ENDPOINTSLICES, slice_of(name, number), "default")

        await asyncio.gather(*(some(start) for start in range(CLIENTS)))


def slice_of(name: str, number: int) -> Object:
    """Four endpoints on as many nodes, this one among them."""
    addresses = [f"10.244.{node}.{2 + number % 250}" for node in range(1, ENDPOINTS + 1)]
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "nodeName": f"node-{node}", "conditions": {"ready": True}}
            for node, address in enumerate(addresses, 1)
        ],
    }


async def _changes(kubeconfig: Path, netns: Path) -> float:
    """The median time from before an endpoint is written until its rules are; the proxy says when they were."""
    taken = []
    async with Client.from_kubeconfig(kubeconfig, user_agent="bench") as client:
        for number in range(CHANGES):
            name = f"s{number:04d}"
            endpoints = slice_of(name, number)["endpoints"][: 1 + number % 3]
            began = time.time()
            await client.patch(r.ENDPOINTSLICES, name, {"endpoints": endpoints}, "default")
            while (written := _last_written(netns)) < began:  # noqa: ASYNC110  # it is told by another process
                await asyncio.sleep(0.02)
            taken.append(written - began)
    return sorted(taken)[CHANGES // 2]


def _last_written(netns: Path) -> float:
    with namespaces.inside(netns):
        asking = socket.create_connection(("127.0.0.1", 10249), 5)
    with asking:
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
    found = re.search(r"^kubeproxy_sync_proxy_rules_last_timestamp_seconds\S* (\S+)", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


def _private(pid: int) -> float:
    """Bytes that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _rate(address: str, port: int) -> float:
    """Answers a second to questions for Services, so many under way at a time."""
    questions = [bytes(DNSRecord.question(f"s{n:04d}.default.svc.cluster.local").pack()) for n in range(AT_ONCE)]
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.connect((address, port))
        began = time.perf_counter()
        for _ in range(QUESTIONS // AT_ONCE):
            for question in questions:
                asking.send(question)
            for _ in questions:
                asking.recv(512)
        return QUESTIONS / (time.perf_counter() - began)
