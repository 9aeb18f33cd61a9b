"""What stays with a container as long as it lives? One small process that starts it, keeps its output and its exit.

The monitor outlives the agent and the zygote. Who wants to know about its container connects to its socket;
what the container left is in ``exit.json`` beside its root file system, written before anybody is told.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from nodeagent.engine import init, wire
from nodeagent.engine.logfile import LogFile
from nodeagent.linux import cgroups, libc, namespaces, procfs

_PR_SET_CHILD_SUBREAPER = 36
_READ = 64 * 1024
_PATIENCE = 3.0  # seconds without progress until a client's unread output is given up
_BACKLOG = 1024 * 1024  # bytes an attached client may lag behind before the container has to wait for it
STARTED, EXIT, BEGUN = "started.json", "exit.json", "begun.json"  # BEGUN: a start was tried


def run(request: wire.ContainerRequest, report: socket.socket) -> NoReturn:
    """Start the container and stay until it ends; ``report`` is told how the start went, and of the exit."""
    try:
        monitor = Monitor(request, report)
        if monitor.start():
            monitor.loop()
    except BaseException as error:
        try:
            wire.send(report, {"failed": f"{type(error).__name__}: {error}", "code": 128})
        except OSError:
            pass
        traceback.print_exc()
    finally:
        os._exit(0)


class Sink:
    """A descriptor written without waiting; what it does not take yet is kept."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.pending = bytearray()
        self.closing = False

    def write(self, data: bytes) -> None:
        if self.fd >= 0:
            self.pending += data
            self.flush()

    def flush(self) -> None:
        try:
            while self.pending:
                del self.pending[: os.write(self.fd, self.pending[:_READ])]
        except BlockingIOError:
            return
        except OSError:  # the reader has gone
            self.close()
            return
        if self.closing:
            self.close()

    def finish(self) -> None:
        """Close once everything is written."""
        self.closing = True
        if self.fd >= 0:
            self.flush()

    def close(self) -> None:
        self.pending.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Client:
    """A connection: the engine's, or one that is attached."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.stdin = -1  # read from here into the container
        self.sinks: dict[str, Sink] = {}

    def close(self) -> None:
        self.sock.close()
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1
        for sink in self.sinks.values():
            sink.close()


class Monitor:
    """See the module's docstring."""

    def __init__(self, request: wire.ContainerRequest, report: socket.socket) -> None:
        self.request = request
        self.directory = request["root"]["directory"]
        self.log = LogFile(request["log_path"])
        self.listener = wire.listen(request["socket"])
        self.clients: list[Client] = [Client(report)]
        self.outputs: dict[int, str] = {}  # descriptor -> stream
        self.input: Sink | None = None
        self.terminal = -1
        self.pid = self.pidfd = -1
        self.started_at = 0.0
        self.started: dict[str, object] = {}

    # Starting

    def start(self) -> bool:
        """Fork the container's init and wait until it has become the container, or told why it could not."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        tty = self.request["process"]["tty"]
        streams = None if tty else self._pipes()
        wire.write_atomically(os.path.join(self.directory, BEGUN), {})
        path = self.request["namespaces"].get("pid")
        if path:
            namespaces.enter(path, namespaces.PID)
        elif path is not None and self.request["users"]:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # our child has to make it, and a child of its own in it: to be ours
        elif path is not None:
            namespaces.unshare(namespaces.PID)
        self.pid = os.fork()  # into that pid namespace; we stay outside
        if self.pid == 0:
            ours.close()
            init.run(self.request, theirs, streams)
        theirs.close()
        for fd in streams or ():
            os.close(fd)
        self.pidfd = os.pidfd_open(self.pid)
        failed = None
        steps: list[object] = []
        who: list[object] | None = None
        while packet := wire.receive(ours):
            if "terminal" in packet.body:
                (self.terminal,) = packet.fds
            elif "steps" in packet.body:
                steps, who = packet.body["steps"], packet.body["user"]
            elif "first" in packet.body:
                self._adopt(packet.body["first"])
                wire.send(ours, {"adopted": True})
            else:
                failed = packet.body
        ours.close()
        self.started_at = time.time()
        if self.terminal >= 0:
            os.set_blocking(self.terminal, False)
            self.outputs[self.terminal] = "stdout"
            self.input = Sink(os.dup(self.terminal)) if self.request["stdin"] else None
        if failed:
            os.waitpid(self.pid, 0)
            self._end(
                {"exit_code": failed["code"], "signal": 0, "oom_killed": self._oom(), "message": failed["failed"]}
            )
            return False
        born = procfs.start_time(self.pid)
        self.started = {"pid": self.pid, "start_time": born, "started_at": self.started_at, "user": who}
        wire.write_atomically(os.path.join(self.directory, STARTED), {**self.started, "steps": steps})
        self._tell({"started": self.started})
        return True

    def _adopt(self, first: int) -> None:
        """What we forked has forked the container's first process, and ends: we are that one's parent now."""
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        self.pid, self.pidfd = first, os.pidfd_open(first)

    def _pipes(self) -> tuple[int, int, int]:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        for fd, stream in ((out_read, "stdout"), (err_read, "stderr")):
            os.set_blocking(fd, False)
            self.outputs[fd] = stream
        if self.request["stdin"]:
            in_read, in_write = os.pipe()
            self.input = Sink(in_write)
        else:
            in_read = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return in_read, out_write, err_write

    # Running

    def loop(self) -> None:
        """Move bytes and answer clients until the container ends."""
        while True:
            handlers: dict[int, Callable[[int], object]] = {}
            poll = select.poll()

            def watch(
                fd: int, events: int, handler: Callable[[int], object],
                poll: select.poll = poll, handlers: dict[int, Callable[[int], object]] = handlers,
            ) -> None:  # fmt: skip
                poll.register(fd, events)
                handlers[fd] = handler

            watch(self.pidfd, select.POLLIN, lambda _: None)
            watch(self.listener.fileno(), select.POLLIN, lambda _: self._accept())
            sinks = [sink for client in self.clients for sink in client.sinks.values()]
            if all(len(sink.pending) < _BACKLOG for sink in sinks):  # else the container waits for its reader
                for fd in self.outputs:
                    watch(fd, select.POLLIN, self._read_output)
            # mypy infers no lambda with a default, which binds this turn's value: hence what it is told to ignore
            for sink in (*sinks, *([self.input] if self.input else ())):
                if sink.fd >= 0 and sink.pending:
                    watch(sink.fd, select.POLLOUT, lambda _, sink=sink: sink.flush())  # type: ignore[misc]
            for client in self.clients:
                watch(client.sock.fileno(), select.POLLIN, lambda _, client=client: self._serve(client))  # type: ignore[misc]
                if client.stdin >= 0 and self.input and len(self.input.pending) < _BACKLOG:
                    watch(client.stdin, select.POLLIN, lambda _, client=client: self._read_input(client))  # type: ignore[misc]
            ready = poll.poll()
            for fd, _ in ready:
                handlers[fd](fd)
            if any(fd == self.pidfd for fd, _ in ready):
                self._reap()
                return

    def _accept(self) -> None:
        sock, _ = self.listener.accept()
        client = Client(sock)
        self.clients.append(client)
        self._answer(client, {"started": self.started})  # it may have come before that, and waited

    def _read_output(self, fd: int) -> bool:
        """Log and pass on what is there; False when there is nothing now or ever."""
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal nobody has open any more
                raise
            data = b""
        if not data:
            if fd == self.terminal:
                return self._pause_terminal(fd)
            del self.outputs[fd]
            os.close(fd)
            return False
        stream = self.outputs[fd]
        self.log.write(stream, data)
        for client in self.clients:
            if stream in client.sinks:
                client.sinks[stream].write(data)
        return True

    def _pause_terminal(self, fd: int) -> bool:
        # A terminal hangs up when its last user closes it, and may be opened again: not the end, but do not spin.
        if not select.select([self.pidfd], [], [], 0.05)[0]:
            return False
        del self.outputs[fd]
        return False

    def _read_input(self, client: Client) -> None:
        try:
            data = os.read(client.stdin, _READ)
        except OSError:
            data = b""
        if data and self.input:
            self.input.write(data)
        if not data:
            self._input_ended(client)

    def _input_ended(self, client: Client) -> None:
        if client.stdin >= 0:
            os.close(client.stdin)
            client.stdin = -1
            if self.request["stdin_once"] and self.input:
                self.input.finish()

    def _serve(self, client: Client) -> None:
        try:
            packet = wire.receive(client.sock)
        except OSError:
            packet = None
        if packet is None:
            self._input_ended(client)
            client.close()
            self.clients.remove(client)
            return
        body = packet.body
        if body["op"] == "kill":
            try:
                signal.pidfd_send_signal(self.pidfd, body["signal"])
            except ProcessLookupError:
                pass
        elif body["op"] == "attach":
            for name, fd in zip(body["streams"], packet.fds, strict=True):
                if name == "stdin":
                    client.stdin = fd
                else:
                    client.sinks[name] = Sink(fd)
            self._answer(client, {"attached": True})
        elif body["op"] == "resize" and self.terminal >= 0:
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", body["rows"], body["columns"], 0, 0))
        elif body["op"] == "reopen":
            self.log.reopen()
            self._answer(client, {"reopened": True})

    # Ending

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        # Its pid namespace took all of its processes along; in one shared with others, its children live on.
        procfs.kill_all(self.request["procs"])
        for fd in list(self.outputs):
            while fd in self.outputs and self._read_output(fd):
                pass
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        self._end({"exit_code": code, "signal": number, "oom_killed": self._oom(), "message": ""})

    def _oom(self) -> bool:
        return cgroups.oom_kills(self.request["oom_file"]) > 0

    def _end(self, outcome: dict[str, object]) -> None:
        self.log.finish()
        record = {**outcome, "started_at": self.started_at, "finished_at": time.time()}
        wire.write_atomically(os.path.join(self.directory, EXIT), record)
        self._tell({"exited": record})
        try:
            os.unlink(self.request["socket"])
        except FileNotFoundError:
            pass
        self._drain()

    def _drain(self) -> None:
        """Let those who are attached read to the end; one that reads nothing for a while is left behind."""
        sinks = [sink for client in self.clients for sink in client.sinks.values()]
        for sink in sinks:
            sink.finish()
        while waiting := [sink.fd for sink in sinks if sink.fd >= 0]:
            _, writable, _ = select.select([], waiting, [], _PATIENCE)
            if not writable:
                return
            for sink in sinks:
                if sink.fd in writable:
                    sink.flush()

    def _tell(self, message: dict[str, object]) -> None:
        for client in self.clients:
            self._answer(client, message)

    def _answer(self, client: Client, message: dict[str, object]) -> None:
        try:
            client.sock.setblocking(False)
            wire.send(client.sock, message)
        except OSError:  # gone, or not listening: exit.json tells it
            pass
        finally:
            client.sock.setblocking(True)
