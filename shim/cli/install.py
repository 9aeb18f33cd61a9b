"""``shim install server|agent FLAGS``: the same as ``shim server`` or ``shim agent``, run by systemd from now on.

What needs a token is done at once, so that the unit holds none.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shim.cli import machines
from shim.cli.common import need_root
from shim.cluster import ClusterError

UNITS = Path("/etc/systemd/system")
RUNNING = Path("/run/systemd/system")  # sd_booted(3)
DESCRIPTIONS = {"server": "kubeshim control plane", "agent": "kubeshim node"}


def install_flags(parser: argparse.ArgumentParser) -> None:
    from shim.api.flags import Parser

    what = parser.add_subparsers(dest="what", metavar="server|agent", required=True, parser_class=Parser)
    machines.server_flags(what.add_parser("server", help="the control plane"))
    machines.agent_flags(what.add_parser("agent", help="a node"))


def install(args: argparse.Namespace) -> int:
    """Join if that is asked for, write the unit, start it."""
    need_root("units are the system's")
    if not RUNNING.is_dir():
        raise ClusterError(f"systemd does not run this machine; have `shim {args.what}` started by what does")
    if args.what == "agent":
        machines.prepare_agent(args)
    else:
        machines.join_masters(args, machines.server_settings(args))
    words = sys.argv[sys.argv.index(args.what) + 1 :]
    name = f"shim-{args.what}"
    (UNITS / f"{name}.service").write_text(unit(args.what, words))
    for command in (["daemon-reload"], ["enable", name], ["restart", name]):
        done = subprocess.run(["systemctl", *command], capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"systemctl {' '.join(command)}: {done.stderr.strip()}")
    print(f"{name}.service is running; its log: journalctl -u {name}")
    return 0


def unit(what: str, words: Sequence[str]) -> str:
    """The unit that runs ``shim WHAT`` with these flags, but those for joining."""
    command = [sys.executable, "-m", "shim", what, *without(words, machines.JOINING)]
    path = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").replace("%", "%%")
    # killed alone, so that containers live on: the next start finds them (systemd.kill(5)); and started again however
    # often it fails: the network, or the master, may be a long time coming
    return f"""\
[Unit]
Description={DESCRIPTIONS[what]}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={shlex.join(command).replace("%", "%%")}
Environment="PATH={path}"
Restart=always
RestartSec=2
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy=multi-user.target
"""


def without(words: Sequence[str], fields: Sequence[str]) -> list[str]:
    """A command line without some flags and their values."""
    flags = {f"--{field.replace('_', '-')}" for field in fields}
    kept: list[str] = []
    skipping = False
    for word in words:
        name, has_value, _ = word.partition("=")
        if not skipping and name not in flags:
            kept.append(word)
        skipping = not skipping and name in flags and not has_value
    return kept
