"""A disposable piece of the real kernel for tests: named namespaces, what runs in them, and a check for leaks."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netproxy.links import namespaces, netlink

needs_root = pytest.mark.needs_root
Addresses = Callable[[], contextlib.AbstractContextManager[None]]  # the fixture `addresses`


def run(*command: str, inside: Path | None = None, timeout: float = 30) -> str:
    """What a command prints, in a namespace; an empty text when it fails."""
    with namespaces.inside(inside) if inside else contextlib.nullcontext():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    return done.stdout if done.returncode == 0 else ""


def ask_kernel(question: Callable[[Any], Any], inside: Path | None = None) -> Any:
    """What a netlink connection answers. In a thread: the test's own may have a running loop."""
    answers: list[Any] = []

    def work() -> None:
        with netlink.connect(inside) as kernel:
            answers.append(question(kernel))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return answers[0]


def interfaces(inside: Path | None = None) -> dict[str, list[str]]:
    """Names of interfaces with their IPv4 addresses."""

    def question(kernel: Any) -> dict[str, list[str]]:
        links = {link["index"]: link.get("ifname") for link in kernel.get_links()}
        found: dict[str, list[str]] = {name: [] for name in links.values()}
        for address in kernel.get_addr(family=socket.AF_INET):
            found[links[address["index"]]].append(f"{address.get('address')}/{address['prefixlen']}")
        return found

    return ask_kernel(question, inside)


def eventually(condition: Callable[[], Any], what: str, patience: float = 60) -> Any:
    """The first true value of a condition. Asks again and again: what is waited for happens in another process."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"not so after {patience} s: {what}"
        time.sleep(0.02)
    return value


@contextlib.contextmanager
def namespace(name: str) -> Iterator[Path]:
    """An empty network namespace for the block."""
    path = namespaces.NAMED / name
    namespaces.create(path)
    try:
        yield path
    finally:
        namespaces.remove(path)


@contextlib.contextmanager
def running(*command: str, inside: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a namespace for the block; it has begun to work when it has printed a line."""
    with namespaces.inside(inside):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def snapshot(name: str) -> dict[str, list[str]]:
    """What of this machine's network has to do with a cluster: interfaces, routes, rules, namespaces, settings."""
    with netlink.connect() as kernel:
        links = {link["index"]: link.get("ifname") for link in kernel.get_links()}
        links = {index: link for index, link in links.items() if link.startswith(name)}
        routes = [route for route in kernel.get_routes(table=254) if route.get("oif") in links]
        rules = [line for table in ("nat", "filter") for line in run("iptables-save", "-t", table).splitlines()]
    return {
        "links": list(links.values()),
        "routes": sorted(f"{route.get('dst')}/{route['dst_len']}" for route in routes),
        "rules": [rule for rule in rules if name.upper() in rule],
        "namespaces": [path.name for path in namespaces.NAMED.glob(f"{name}-*")],
        "records": [str(path) for path in Path("/run/kubeshim").glob(f"{name}.*")],
    }


HTTP_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{sys.argv[1]} {self.client_address[0]}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("", int(sys.argv[2])), Handler)
print("ready", flush=True)
server.serve_forever()
"""
"""``NAME PORT``: answers with its name and who asked."""

UDP_SERVER = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, client = server.recvfrom(100)
    server.sendto(f"{sys.argv[1]} {client[0]}".encode(), client)
"""


def http_get(address: str, port: int, inside: Path | None = None, patience: float = 2) -> str:
    """What an HTTP server answers; an empty text when nobody does within so many seconds."""
    ask = "u.urlopen(sys.argv[1], timeout=float(sys.argv[2]))"
    script = f"import sys, urllib.request as u; print({ask}.read().decode())"
    return run(sys.executable, "-Sc", script, f"http://{address}:{port}/", str(patience), inside=inside).strip()


def udp_ask(address: str, port: int, inside: Path | None = None, patience: float = 2) -> str:
    """What a datagram server answers; an empty text when nobody does within so many seconds."""
    with namespaces.inside(inside) if inside else contextlib.nullcontext():
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(patience)
        asking.sendto(b"?", (address, port))
        try:
            return asking.recv(100).decode()
        except OSError:
            return ""
