"""The command ``shim``: one row per subcommand, each in a module of its own that is imported only when asked for."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from shim.api.flags import Parser
from shim.api.version import RELEASE
from shim.settings import VERSION


@dataclass(frozen=True, slots=True)
class Command:
    """``module`` has ``<name>_flags(parser)`` and ``<name>(args) -> int``."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("up", "shim.cli.up", "start a cluster on this machine"),
    Command("down", "shim.cli.down", "stop it; nothing is left behind but its data"),
    Command("status", "shim.cli.status", "parts, nodes, pods and addresses"),
    Command("kubeconfig", "shim.cli.access", "print the admin kubeconfig"),
    Command("logs", "shim.cli.access", "print what a part logged"),
    Command(
        "explain",
        "shim.cli.explain",
        "show what a pod is made of, or a packet's way to a Service",
    ),
    Command("fault", "shim.cli.fault", "cut a node off, lose or delay its packets, heal it"),
    Command("token", "shim.cli.token", "make, list and end the tokens other machines join with"),
    Command("image", "shim.cli.image", "list, import and remove images"),
    Command("server", "shim.cli.machines", "make this machine a master: API server, controllers, scheduler"),
    Command("agent", "shim.cli.machines", "make this machine a node of a cluster: nodeagent and netproxy"),
    Command("install", "shim.cli.install", "have systemd run a server or an agent on this machine"),
    Command("uninstall", "shim.cli.uninstall", "take back what made this machine a server or an agent"),
    Command("apiserver", "shim.cli.parts", "run the API server alone (needs no root)"),
    Command("controllers", "shim.cli.parts", "run the controllers alone (needs no root)"),
    Command("scheduler", "shim.cli.parts", "run the scheduler alone (needs no root)"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 when it failed, 2 when it was used wrongly."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="shim", description="A Kubernetes you can read.")
    parser.add_argument("--version", action="version", version=f"shim {RELEASE}, serving Kubernetes {VERSION}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        sub = subparsers.add_parser(command.name, help=command.help, description=command.help)
        if argv and argv[0] == command.name:  # the flags of the others are not needed, nor are their imports
            module = importlib.import_module(command.module)
            getattr(module, f"{command.name}_flags")(sub)
    args = parser.parse_args(argv)
    command = next(row for row in COMMANDS if row.name == args.command)
    try:
        return int(getattr(importlib.import_module(command.module), command.name)(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `shim logs ... | head`
        sys.stderr.close()
        return 0
    except Exception as error:
        from shim.cluster import ClusterError

        told = str(error) if isinstance(error, ClusterError) else _machine_says(error)
        if told is None:
            raise
        print(f"shim {args.command}: {told}", file=sys.stderr)
        return 1


def _machine_says(error: Exception) -> str | None:
    """What is wrong with the machine rather than with this program: a file that is not ours, a disk that is full."""
    if not isinstance(error, OSError) or not (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return None
    told = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    ours = error.errno not in (errno.EACCES, errno.EPERM) or os.geteuid() == 0
    return told if ours else f"{told}; try sudo"
